"""The child process that queues a new commit of a model's branch: `python -m ml.controller.pushes MODEL`.

With the word `queue` after the model, the same call of git lists its merge queue.
"""

import sys
from contextlib import nullcontext

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.errors import UnavailableError
from db import newest, release_queue
from db.models import Release
from db.session import create_sessionmaker
from db.states import Trigger
from ml.controller.merge_groups import check_listing, lock_queue
from ml.controller.queue_polling import WITH_QUEUE
from ml.git_token import use_git_token
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig
from ml.sources.git_history import PushHistory
from ml.sources.git_merge_groups import list_patterns, parse_merge_groups


def main(name: str, *more: str) -> None:
    settings = MlSettings()
    log.configure("pushes", settings.log)
    model = next(model for model in settings.list_models() if model.name == name)
    sessions = create_sessionmaker(settings.database_url)
    lock = lock_queue(settings, name) if WITH_QUEUE in more else nullcontext(False)
    try:
        with lock as has_queue, use_git_token(settings, sessions, model.repository) as access:
            release = check_pushes(sessions, access, model, has_queue=has_queue)
    except UnavailableError as fault:
        logger.warning("pushes to {} are checked again later: {}", name, fault)
        return
    if release:
        logger.info(
            "{} to {}: release {} of {}",
            newest.describe_arrival(release),
            model.branch,
            release.id,
            release.model,
        )


def check_pushes(
    sessions: sessionmaker[Session], settings: MlSettings, model: ModelConfig, *, has_queue: bool
) -> Release | None:
    """Queue the newest push; follow the merge queue where it `has_queue` to. Raises `UnavailableError`."""
    folder = HomeLayout(settings.home.absolute()).repository_path(model.name).with_suffix(".pushes")
    with PushHistory(model, folder, token=settings.github_token, host=settings.github_host) as pushes:
        pushes.patterns = list_patterns(model.branch) if has_queue else pushes.patterns
        release = queue_newest(sessions, model, pushes)
    if has_queue:
        check_listing(sessions, settings, model, parse_merge_groups(pushes.listed, model.branch))
    return release


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
    main(*sys.argv[1:])
