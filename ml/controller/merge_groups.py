"""The child process that checks a model's merge queue: `python -m ml.controller.merge_groups MODEL`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.errors import UnavailableError
from db import merge_groups
from db.leader import LeaderLock
from db.merge_groups import QueueListing
from db.models import Release
from db.session import create_sessionmaker
from ml.git_token import use_git_token
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig
from ml.sources.git_merge_groups import examine_groups, list_merge_groups


def main(name: str, *_: str) -> None:
    settings = MlSettings()
    log.configure("queue", settings.log)
    model = next(model for model in settings.list_models() if model.name == name)
    sessions = create_sessionmaker(settings.database_url)
    try:
        with (
            lock_queue(settings, name) as is_locked,
            use_git_token(settings, sessions, model.repository) as access,
        ):
            if is_locked:
                check_queue(sessions, access, model)
    except UnavailableError as fault:
        logger.warning("the merge queue of {} is checked again later: {}", name, fault)
        sys.exit(1)


@contextmanager
def lock_queue(settings: MlSettings, name: str) -> Iterator[bool]:
    """Lock the merge queue of a model until it was listed and followed; False where another process has it.

    A controller that is not the leader any more may have left one: its older answer would end what a newer
    one has found.
    """
    lock = LeaderLock(settings.database_url, f"merge queue {name}")
    try:
        yield lock.acquire()
    finally:
        lock.release()


def check_queue(sessions: sessionmaker[Session], settings: MlSettings, model: ModelConfig) -> list[Release]:
    """List the queue, and act on it; raises `UnavailableError`."""
    listing = list_merge_groups(model, token=settings.github_token, host=settings.github_host)
    return check_listing(sessions, settings, model, listing)


def check_listing(
    sessions: sessionmaker[Session], settings: MlSettings, model: ModelConfig, listing: QueueListing
) -> list[Release]:
    """End the checks of groups that are gone, and queue those of new ones; raises `UnavailableError`."""
    with sessions.begin() as session:
        merge_groups.end_gone(session, model.name, listing)
        new = merge_groups.find_new(session, model.name, listing.groups)
        numbers = {group.number for group in listing.groups}
        pulls = merge_groups.find_pulls(session, model.repository, model.branch, numbers)
    wanted = [group for group in new if group.number in pulls]
    if not wanted:
        return []
    examined = examine_groups(
        model,
        listing,
        wanted,
        {number: pull.head for number, pull in pulls.items()},
        clone=HomeLayout(settings.home.absolute()).merge_repository_path(model.name),
        token=settings.github_token,
        host=settings.github_host,
    )
    with sessions.begin() as session:
        queued = merge_groups.queue_groups(
            session,
            model.name,
            examined,
            repository=model.repository,
            branch=model.branch,
            trust=model.checks.trust,
        )
    for release in queued:
        logger.info("{}: check {} of {}", release.ref, release.id, release.model)
    return queued


if __name__ == "__main__":
    main(*sys.argv[1:])
