"""The child process that queues a new commit of a model's branch: `python -m ml.controller.pushes MODEL`."""

import sys

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import newest, release_queue
from db.models import Release
from db.states import Trigger
from ml.controller.listing import run_check
from ml.controller.merge_groups import check_listing
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig
from ml.sources.git_history import PushHistory
from ml.sources.git_merge_groups import list_patterns, parse_merge_groups


def check_pushes(
    sessions: sessionmaker[Session], settings: MlSettings, model: ModelConfig, *, has_queue: bool
) -> None:
    """Queue the newest push; follow the merge queue where it `has_queue` to. Raises `UnavailableError`."""
    folder = HomeLayout(settings.home.absolute()).repository_path(model.name).with_suffix(".pushes")
    with PushHistory(model, folder, token=settings.github_token, host=settings.github_host) as pushes:
        pushes.patterns = list_patterns(model.branch) if has_queue else pushes.patterns
        release = queue_newest(sessions, model, pushes)
    if release:
        arrival = newest.describe_arrival(release)
        logger.info("{} to {}: release {} of {}", arrival, model.branch, release.id, release.model)
    if has_queue:
        check_listing(sessions, settings, model, parse_merge_groups(pushes.listed, model.branch))


def queue_newest(sessions: sessionmaker[Session], model: ModelConfig, pushes: PushHistory) -> Release | None:
    """Queue the branch's tip when it is new; of a model without a release, only if it releases on push."""
    tip = pushes.find_tip()
    with sessions.begin() as session:
        newest_change = release_queue.find_newest_change(session, model.name)
        if tip is None or release_queue.has_change(session, model.name, tip):
            return None
    found = pushes.find_new(newest_change)
    if not found or (newest_change is None and not pushes.is_released_on_push(found[0].commit)):
        return None
    with sessions.begin() as session:
        ends = model.is_whole_repository
        return release_queue.queue_merges(session, model.name, found, Trigger.PUSH, ends_retrainings=ends)


if __name__ == "__main__":
    run_check(check_pushes, "pushes", sys.argv[1:])
