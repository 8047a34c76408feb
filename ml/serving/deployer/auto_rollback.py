"""Automatic rollback of a young release that crashes where the previous release does not."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import Enum
from functools import partial

from loguru import logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from common.errors import RejectedError, UnavailableError
from common.problems import ProblemError
from common.system.threads import run_in_thread
from db import deployments, rollbacks
from db.models import Deployment, Release
from ml.serving.deployer.startup import start_pool
from ml.serving.registry import LiveRelease, ServedModel
from ml.serving.workers.pool import Pool, PoolLimits
from ml.settings import MlSettings

ROLLBACK_WINDOW = timedelta(minutes=5)

Trial = Callable[[Release], Awaitable[str | None]]  # the previous release → why to roll back to it


class TrialResult(Enum):
    """The outcome of one request to one worker that receives no other requests."""

    PREDICTED = "predicted"
    REFUSED = "refused"  # an error of the model, or no answer in time
    CRASHED = "died"


class AutoRollback:
    """The automatic rollback of one model; a client's bad input alone never causes one.

    The previous release must predict the same input, and a fresh worker of the new one must crash on it
    again. Only one trial runs at a time: a client that crashes workers gets no more of them to crash.
    """

    def __init__(self, served: ServedModel, settings: MlSettings, sessions: sessionmaker[Session]) -> None:
        self.served, self.settings, self.sessions = served, settings, sessions
        self.limits = PoolLimits(1, settings.predict_timeout, settings.load_timeout)
        self._trial: asyncio.Task[None] | None = None

    def on_crash(self, pool: Pool, body: bytes) -> None:
        """Start a trial when two workers of the live release crashed on a request."""
        if (live := self._find_live(pool)) is not None:
            self._start_trial(live.deployment, partial(self._crashes_on, live.release, body))

    def on_start_failure(self, pool: Pool, reason: str) -> None:
        """Start a trial when workers of the live release cannot be started again."""
        if (live := self._find_live(pool)) is not None:
            self._start_trial(live.deployment, partial(self._fails_to_start, reason))

    async def stop(self) -> None:
        if self._trial is not None:
            self._trial.cancel()
            await asyncio.gather(self._trial, return_exceptions=True)

    def on_restore_failure(self, deployment: Deployment, reason: str) -> None:
        """Start a trial when the release that was live before a restart of `serve` does not start."""
        self._start_trial(deployment, partial(self._fails_to_start, reason))

    def _find_live(self, pool: Pool) -> LiveRelease | None:
        live = self.served.live
        return live if live is not None and live.pool is pool else None

    def _start_trial(self, deployment: Deployment, trial: Trial) -> None:
        if self._trial is None or self._trial.done():
            self._trial = asyncio.get_running_loop().create_task(self._run_trial(deployment, trial))

    async def _run_trial(self, deployment: Deployment, trial: Trial) -> None:
        name = f"release {deployment.release_id} of {deployment.model}"
        try:
            before = await run_in_thread(self._find_previous, deployment)
            reason = await trial(before) if before is not None else None
            if reason is not None:
                await run_in_thread(self._roll_back, deployment, reason)
        except (RejectedError, UnavailableError, deployments.RefusedError, DBAPIError) as fault:
            logger.warning("{} is not rolled back automatically: {}", name, fault)
        except Exception:  # noqa: BLE001 (a bug of ours must not stop predictions)
            logger.exception("could not determine if {} has to be rolled back", name)

    def _find_previous(self, deployment: Deployment) -> Release | None:
        """Return the release to roll back to; None when it is too late, when there is none, or when a
        person made this one live again."""
        with self.sessions.begin() as session:
            is_young = deployments.is_live_for_less(session, deployment, ROLLBACK_WINDOW)
            if not (is_young and deployments.is_first(session, deployment)):
                return None
            return rollbacks.find_target(session, deployment)

    async def _crashes_on(self, release: Release, body: bytes, previous: Release) -> str | None:
        answer = await self._predict_alone(previous, body)
        if answer is not TrialResult.PREDICTED:
            logger.info(
                "release {} crashed on features that release {} does not answer either: not rolled back",
                release.id,
                previous.id,
            )
            return None
        if await self._predict_alone(release, body) is not TrialResult.CRASHED:
            return None  # something else ended the workers
        # not which: a reason is stored for good, and what users sent has to stay erasable
        return f"its workers die over features that release {previous.id} answers"

    async def _fails_to_start(self, reason: str, previous: Release) -> str | None:
        """Return the reason to roll back if the previous release starts: else the machine is at fault."""
        pool = await self._start_pool(previous)
        await pool.close()
        return f"its workers do not start again, and those of release {previous.id} do: {reason}"

    async def _start_pool(self, release: Release) -> Pool:
        """Start one worker, which logs no more of features than those of the live release."""
        live, model = self.served.live, self.served.model
        hides_errors = live is not None and bool(live.record.hidden_fields)
        return await start_pool(
            model, self.settings, release, self.limits, logger.info, hides_errors=hides_errors
        )

    async def _predict_alone(self, release: Release, body: bytes) -> TrialResult:
        pool = await self._start_pool(release)
        try:
            await pool.submit(body)
        except ProblemError:
            return TrialResult.CRASHED if pool.deaths else TrialResult.REFUSED
        else:
            return TrialResult.PREDICTED
        finally:
            await pool.close()

    def _roll_back(self, deployment: Deployment, reason: str) -> None:
        with self.sessions.begin() as session:
            made = deployments.auto_roll_back(session, deployment, reason)
        if made is not None:
            logger.warning(
                "release {} of {} is rolled back automatically to release {}: {}",
                deployment.release_id,
                deployment.model,
                made.release_id,
                reason,
            )
