"""The child process that queues the newest new `v*` tag of a model: `python -m ml.controller.tags MODEL`.

With the word `queue` after the model, the same call of git lists its merge queue.
"""

import sys
from contextlib import nullcontext

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.errors import UnavailableError
from db import release_queue
from db.session import create_sessionmaker
from ml.controller.merge_groups import check_listing, lock_queue
from ml.controller.queue_polling import WITH_QUEUE
from ml.git_token import use_git_token
from ml.settings import MlSettings, ModelConfig
from ml.sources import git_server
from ml.sources.git_merge_groups import list_patterns, parse_merge_groups


def main(name: str, *more: str) -> None:
    settings = MlSettings()
    log.configure("tags", settings.log)
    model = next(model for model in settings.list_models() if model.name == name)
    sessions = create_sessionmaker(settings.database_url)
    lock = lock_queue(settings, name) if WITH_QUEUE in more else nullcontext(False)
    try:
        with lock as has_queue, use_git_token(settings, sessions, model.repository) as access:
            check_tags(sessions, access, model, has_queue=has_queue)
    except UnavailableError as fault:
        logger.warning("the tags of {} are checked again later: {}", name, fault)


def check_tags(
    sessions: sessionmaker[Session], settings: MlSettings, model: ModelConfig, *, has_queue: bool
) -> None:
    """Queue the newest new tag; follow the merge queue where it `has_queue` to. Raises `UnavailableError`."""
    patterns = (git_server.TAGS, *(list_patterns(model.branch) if has_queue else ()))
    answer = git_server.list_refs(model, *patterns, token=settings.github_token, host=settings.github_host)
    tags = git_server.sort_tags(answer)
    with sessions.begin() as session:
        ends = model.is_whole_repository
        release = release_queue.queue_tags(session, model.name, model.repository, tags, ends_retrainings=ends)
    if release:
        logger.info("{} of {}: release {} at {}", release.ref, model.name, release.id, release.commit[:8])
    if has_queue:
        check_listing(sessions, settings, model, parse_merge_groups(answer, model.branch))


if __name__ == "__main__":
    main(*sys.argv[1:])
