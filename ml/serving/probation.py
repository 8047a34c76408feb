"""A release's first minutes: where it dies and the one before does not, it is rolled back by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial

from loguru import logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from common.problems import Problem
from db import deployments
from db.models import Deployment, Release
from ml.errors import Rejected, Unavailable
from ml.serving.live import Live, Place
from ml.serving.pool import Limits
from ml.serving.start import start
from ml.serving.threads import aside
from ml.settings import Settings

LENGTH = timedelta(minutes=5)
SHOWN = 200  # characters of features in a reason

Trial = Callable[[Release], Awaitable[str | None]]  # the release before → why to go back to it


class Answer(Enum):
    """What became of one question to one worker that nobody else asks."""

    PREDICTED = "predicted"
    REFUSED = "refused"  # an error of the model, or no answer in time
    DIED = "died"


class Probation:
    """One model's. A client's bad input brings no rollback about, however often it ends a worker.

    The release before has to give a prediction for the same input, and a fresh worker of the new one has to
    end over it once more. One trial at a time: a client that kills workers gets no more of them to kill.
    """

    def __init__(self, place: Place, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.place, self.settings, self.sessions = place, settings, sessions
        self.limits = Limits(1, settings.predict_timeout, settings.load_timeout)
        self._trial: asyncio.Task[None] | None = None

    def begin(self, live: Live) -> None:
        """Hear of it when workers of `live` die over what they are asked, or cannot be started again."""
        live.pool.crashed = lambda body: self._suspect(live, partial(self._dies_over, live.release, body))
        live.pool.unstartable = lambda reason: self._suspect(live, partial(self._does_not_start, reason))

    async def stop(self) -> None:
        if self._trial is not None:
            self._trial.cancel()
            await asyncio.gather(self._trial, return_exceptions=True)

    def not_restored(self, deployment: Deployment, reason: str) -> None:
        """What was live when `serve` ended does not start in the new one."""
        if deployment.live_at is not None:
            self._begin(deployment, deployment.live_at, partial(self._does_not_start, reason))

    def _suspect(self, suspect: Live, trial: Trial) -> None:
        live = self.place.live
        if live is not None and live.pool is suspect.pool:
            self._begin(live.deployment, live.since, trial)

    def _begin(self, deployment: Deployment, since: datetime, trial: Trial) -> None:
        over = datetime.now(UTC) - since > LENGTH
        if not over and (self._trial is None or self._trial.done()):
            self._trial = asyncio.get_running_loop().create_task(self._try(deployment, trial))

    async def _try(self, deployment: Deployment, trial: Trial) -> None:
        name = f"release {deployment.release_id} of {deployment.model}"
        try:
            before = await aside(self._before, deployment)
            reason = await trial(before) if before is not None else None
            if reason is not None:
                await aside(self._withdraw, deployment, reason)
        except (Rejected, Unavailable, deployments.Refused, DBAPIError) as fault:
            logger.warning("{} is not rolled back by itself: {}", name, fault)
        except Exception:  # noqa: BLE001 (a bug of ours must not stop predictions)
            logger.exception("whether {} has to be rolled back could not be found out", name)

    def _before(self, deployment: Deployment) -> Release | None:
        """What a rollback would go to; None when there is nothing, or when a person made it live again."""
        with self.sessions.begin() as session:
            if not deployments.is_first(session, deployment):
                return None
            return deployments.before(session, deployment)

    async def _dies_over(self, release: Release, body: bytes, before: Release) -> str | None:
        answer = await self._ask(before, body)
        if answer is not Answer.PREDICTED:
            logger.info(
                "release {} died over features that release {} does not answer either: they are to blame",
                release.id,
                before.id,
            )
            return None
        if await self._ask(release, body) is not Answer.DIED:
            return None  # it was something else that ended them
        features = f" ({shown(body)})" if self.settings.record else ""
        return f"its workers die over features{features} that release {before.id} answers"

    async def _does_not_start(self, reason: str, before: Release) -> str | None:
        """The machine may be at fault: the release before has to start."""
        pool = await start(self.place.model, self.settings, before, self.limits, logger.info)
        await pool.close()
        return f"its workers do not start again, and those of release {before.id} do: {reason}"

    async def _ask(self, release: Release, body: bytes) -> Answer:
        pool = await start(self.place.model, self.settings, release, self.limits, logger.info)
        try:
            await pool.ask(body)
        except Problem:
            return Answer.DIED if pool.deaths else Answer.REFUSED
        else:
            return Answer.PREDICTED
        finally:
            await pool.close()

    def _withdraw(self, deployment: Deployment, reason: str) -> None:
        with self.sessions.begin() as session:
            made = deployments.withdraw(session, deployment, reason)
        if made is not None:
            logger.warning(
                "release {} of {} is rolled back by itself to release {}: {}",
                deployment.release_id,
                deployment.model,
                made.release_id,
                reason,
            )


def shown(body: bytes) -> str:
    text = body.decode(errors="replace")
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
