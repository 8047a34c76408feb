"""The frame of the child processes that list what a git server has of one model.

`python -m ml.controller.pushes MODEL`, or `tags`. With the word `queue` after the model, the same call of git
lists its merge queue.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Protocol

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.errors import UnavailableError
from db.session import create_sessionmaker
from ml.controller.merge_groups import lock_queue
from ml.controller.queue_polling import WITH_QUEUE
from ml.git_token import use_git_token
from ml.settings import MlSettings, ModelConfig


class Check(Protocol):
    """Queue what is new at the git server; follow the merge queue where it `has_queue` to."""

    def __call__(
        self, sessions: sessionmaker[Session], settings: MlSettings, model: ModelConfig, *, has_queue: bool
    ) -> None: ...


def run_check(check: Check, what: str, arguments: Sequence[str]) -> None:
    """Run a check with the git server's token; one that is unavailable is asked again later."""
    name, *more = arguments
    settings = MlSettings()
    log.configure(what, settings.log)
    model = next(model for model in settings.list_models() if model.name == name)
    sessions = create_sessionmaker(settings.database_url)
    lock = lock_queue(settings, name) if WITH_QUEUE in more else nullcontext(False)
    try:
        with lock as has_queue, use_git_token(settings, sessions, model.repository) as access:
            check(sessions, access, model, has_queue=has_queue)
    except UnavailableError as fault:
        logger.warning("the {} of {} are checked again later: {}", what, name, fault)
