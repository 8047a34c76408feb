"""The child process that queues the newest new `v*` tag of a model: `python -m ml.controller.tags MODEL`.

With the word `queue` after the model, the same call of git lists its merge queue.
"""

import sys

from loguru import logger

from common import log
from common.errors import UnavailableError
from db import release_queue
from db.session import create_sessionmaker
from ml.controller.merge_groups import check_listing
from ml.controller.queue_polling import WITH_QUEUE
from ml.git_token import with_git_token
from ml.settings import MlSettings
from ml.sources import git_server
from ml.sources.git_merge_groups import list_patterns, parse_merge_groups


def main(name: str, *more: str) -> None:
    settings = MlSettings()
    log.configure("tags", settings.log)
    model = next(model for model in settings.list_models() if model.name == name)
    sessions, has_queue = create_sessionmaker(settings.database_url), WITH_QUEUE in more
    settings = with_git_token(settings, sessions, model.repository)
    patterns = (git_server.TAGS, *(list_patterns(model.branch) if has_queue else ()))
    try:
        answer = git_server.list_refs(
            model, *patterns, token=settings.github_token, host=settings.github_host
        )
        with sessions.begin() as session:
            release = release_queue.queue_tags(session, name, model.repository, git_server.sort_tags(answer))
        if release:
            logger.info("{} of {}: release {}, commit {}", release.ref, name, release.id, release.commit[:8])
        if has_queue:
            check_listing(sessions, settings, model, parse_merge_groups(answer, model.branch))
    except UnavailableError as fault:
        logger.warning("the tags of {} are checked again later: {}", name, fault)


if __name__ == "__main__":
    main(*sys.argv[1:])
