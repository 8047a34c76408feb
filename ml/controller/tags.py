"""The child process that queues the newest new `v*` tag of a model: `python -m ml.controller.tags MODEL`."""

import sys

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import release_queue
from ml.controller.listing import run_check
from ml.controller.merge_groups import check_listing
from ml.settings import MlSettings, ModelConfig
from ml.sources import git_server
from ml.sources.git_merge_groups import list_patterns, parse_merge_groups


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
    run_check(check_tags, "tags", sys.argv[1:])
