"""The reconciler: starts the release that the database wants, switches to it, and reports the outcome."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common.errors import RejectedError, UnavailableError
from common.system.threads import run_in_thread
from db import deployments, releases, request_log
from db.models import Deployment, Release
from db.session import DB_ERRORS, describe_error
from db.states import DeploymentState
from ml.paths import HomeLayout
from ml.record_section import RecordSection, find_followed
from ml.serving.deployer import readiness
from ml.serving.deployer.auto_rollback import AutoRollback
from ml.serving.deployer.deployment_backoff import DeploymentBackoff, limit_slow_starts
from ml.serving.deployer.startup import MakeRoom, start_pool
from ml.serving.registry import LiveRelease, ServedModel
from ml.serving.workers.pool import MAX_FAILED_STARTS, Pool, PoolLimits
from ml.settings import MlSettings


class SupersededError(Exception):
    """A newer deployment was decided on while a release was starting."""


class DeploymentReconciler:
    """The reconciler of one model; the live release stays live until another one has answered."""

    def __init__(
        self,
        served: ServedModel,
        settings: MlSettings,
        sessions: sessionmaker[Session],
        make_room: MakeRoom | None = None,
    ) -> None:
        """Create a reconciler; `make_room` ends what a release that is started takes the place of."""
        self.served, self.settings, self.sessions = served, settings, sessions
        self._make_room = make_room
        self.limits = PoolLimits(settings.workers, settings.predict_timeout, settings.load_timeout)
        self.wake_event = asyncio.Event()
        self._auto_rollback = AutoRollback(served, settings, sessions)
        self._backoffs: dict[int, DeploymentBackoff] = {}
        # outcomes of deployments still to be written to Postgres: None when one went live, else why not
        self._pending_reports: list[tuple[Deployment, str | None]] = []
        self._draining: set[asyncio.Task[None]] = set()  # of pools that were live

    async def run(self) -> None:
        """Reconcile until cancelled; then stop every worker."""
        try:
            while True:
                self.wake_event.clear()
                await self._reconcile_safely()
                await self._wait_for_work()
        finally:
            await self._stop()

    async def _reconcile_safely(self) -> None:
        try:
            await self.reconcile()
        except DB_ERRORS as error:
            reason = describe_error(error)
            if self.served.database_error is None:
                logger.warning("Postgres is unavailable, {} is unchanged: {}", self.served.model.name, reason)
            self.served.database_error = reason
        except Exception:  # noqa: BLE001 (a bug of ours must not stop the reconciler)
            logger.exception("reconciling {} failed", self.served.model.name)

    async def reconcile(self) -> None:
        """Reconcile once: write pending reports, restore the live release, try the wanted one."""
        await self._send_reports()
        live, wanted = await run_in_thread(self._read_state)
        self.served.database_error, self.served.was_live = None, live is not None
        ids = {deployment.id for deployment in (live, wanted) if deployment is not None}
        self._backoffs = {n: postponed for n, postponed in self._backoffs.items() if n in ids}
        if not ids:
            self.served.error = None
        if live is not None and not self._sync_timestamp(live):
            await self._attempt_start(live)
        if wanted is not None:
            await self._attempt_start(wanted)

    def _read_state(self) -> tuple[Deployment | None, Deployment | None]:
        model = self.served.model.name
        with self.sessions.begin() as session:
            return deployments.find_live(session, model), deployments.find_wanted(session, model)

    async def _attempt_start(self, deployment: Deployment) -> None:
        """Start the deployment and switch to it, or record why not."""
        postponed = self._backoffs.setdefault(deployment.id, DeploymentBackoff(deployment.id))
        if time.monotonic() < postponed.due_at:
            return
        name = f"release {deployment.release_id} of {deployment.model}"
        self.served.activity = f"starting {name}"
        try:
            live = await limit_slow_starts(self._start_unless_superseded(deployment), postponed)
        except SupersededError:
            logger.info("{} is abandoned: a newer decision was made", name)
        except RejectedError as fault:
            logger.warning("{} failed to start: {}", name, fault)
            if deployment.state is DeploymentState.LIVE:  # a person may bring back what is missing
                postponed.schedule_retry()
                self.served.error = f"{name} cannot be restored: {fault}"
                if postponed.tries >= MAX_FAILED_STARTS:
                    self._auto_rollback.on_restore_failure(deployment, str(fault))
            else:
                self._pending_reports.append((deployment, str(fault)))
                self.served.error = None
        except UnavailableError as fault:
            postponed.schedule_retry()
            logger.warning("{} is tried again in {:g} s: {}", name, postponed.pause_seconds, fault)
            self.served.error = f"{name} is tried again: {fault}"
        except DB_ERRORS:
            raise  # tried again as soon as Postgres is back
        except Exception:
            postponed.schedule_retry()
            self.served.error = (
                f"{name} could not be started because of a bug in Slipway; its log has the details"
            )
            raise
        else:
            self._switch_to(live)
        finally:
            self.served.activity = None
        await self._tell_if_nothing_live(deployment, postponed.tries)
        await self._send_reports()

    async def _tell_if_nothing_live(self, deployment: Deployment, tries: int) -> None:
        """Have people told when the live release cannot be restored in several tries."""
        is_restored = self.served.live is not None or deployment.state is not DeploymentState.LIVE
        if not is_restored and tries >= MAX_FAILED_STARTS and self.served.error:
            await run_in_thread(self._write_not_restored, deployment, self.served.error)

    def _write_not_restored(self, deployment: Deployment, reason: str) -> None:
        with self.sessions.begin() as session:
            deployments.record_not_restored(session, deployment, reason)

    async def _start_unless_superseded(self, deployment: Deployment) -> LiveRelease:
        """Start the deployment and mark it live in Postgres.

        Raises `SupersededError` as soon as another deployment is wanted.
        """
        starting = asyncio.create_task(self._start_release(deployment))
        watching = asyncio.create_task(self._wait_until_superseded(deployment))
        try:
            await asyncio.wait({starting, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                await watching
                raise SupersededError
            live = await starting
            return replace(live, since=await self._mark_live(deployment) or live.since)
        except BaseException:
            await cancel_start(starting)
            raise
        finally:
            watching.cancel()
            self.wake_event.set()  # a wake-up in the meantime may be a decision for the next pass

    async def _wait_until_superseded(self, deployment: Deployment) -> None:
        """Wait until another deployment is to be served."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wake_event.wait(), self.settings.poll_seconds)
            self.wake_event.clear()
            with suppress(*DB_ERRORS):
                standing = await run_in_thread(self._read_state)
                if deployment.id not in {each.id for each in standing if each is not None}:
                    return

    async def _mark_live(self, deployment: Deployment) -> datetime | None:
        """Mark it live in Postgres and return since when; while Postgres is unavailable, report it later."""
        try:
            live = await run_in_thread(self._write_outcome, deployment, None)
        except DB_ERRORS:
            self._pending_reports.append((deployment, None))
            return None
        if live is None or live.id != deployment.id:
            raise SupersededError
        return live.live_at

    async def _start_release(self, deployment: Deployment) -> LiveRelease:
        """Start workers of the release next to the live ones, ready to replace them."""
        release = deployment.release
        # now: Postgres may be unavailable when the worker is ready
        reference_data, record = await run_in_thread(self._read_facts, release)
        pool = await start_pool(
            self.served.model,
            self.settings,
            release,
            self.limits,
            self._set_activity,
            stats=self.served.worker_stats,
            on_crash=self._auto_rollback.on_crash,
            on_start_failure=self._auto_rollback.on_start_failure,
            make_room=self._make_room,
            hides_errors=bool(record.hidden_fields),
        )
        try:
            chosen = await run_in_thread(
                readiness.choose_probes, pool, release.kind, self._recorded_features(release.model)
            )
            row = await readiness.find_answered(pool, await run_in_thread(self._rows, release), chosen)
            tried = await readiness.check_pool(pool, chosen, row)
        except BaseException:
            await pool.close()
            raise
        since = deployment.live_at or datetime.now(UTC)
        return LiveRelease(
            release=release,
            pool=pool,
            reference_data=reference_data,
            row=(row.features,) if row else None,
            deployment=deployment,
            record=record,
            since=since,
            was_probed=tried,
        )

    def _set_activity(self, activity: str) -> None:
        logger.info("{}", activity)
        self.served.activity = activity

    def _read_facts(self, release: Release) -> tuple[dict[str, Any], RecordSection]:
        """Return a release's reference data, and what is recorded of its calls: the operator's word wins."""
        with self.sessions.begin() as session:
            reference_data = releases.find_reference_data(session, release.id)
            sections = releases.list_record_sections(session, release)
        return reference_data, find_followed(self.served.model.operator_record, sections)

    def _rows(self, release: Release) -> list[readiness.ReadinessProbe]:
        """Return the forms of a row of the test data; none for a series, whose test data has no features."""
        if release.kind == "time-series":
            return []
        return readiness.read_rows(HomeLayout(self.settings.home.absolute()).scored(release.id))

    def _recorded_features(self, model: str) -> Callable[[], list[Any]]:
        def newest() -> list[Any]:
            with self.sessions.begin() as session:
                return request_log.list_distinct_features(session, model, readiness.MAX_RECORDED_INPUTS)

        return newest

    def _switch_to(self, live: LiveRelease) -> None:
        """Switch by one assignment: old workers finish requests in flight, new ones take those that wait."""
        old, self.served.live = self.served.live, live
        self.served.error = None
        self._backoffs.clear()
        logger.info("{} is live, commit {}", live.pool.label, live.release.commit[:8])
        if old is not None:
            old.pool.hand_over(live.pool)
            leaving = asyncio.get_running_loop().create_task(drain_and_close(old.pool))
            self._draining.add(leaving)
            leaving.add_done_callback(self._draining.discard)

    async def _send_reports(self) -> None:
        """Write the outcomes of deployments to Postgres; they stay pending until Postgres accepts them."""
        while self._pending_reports:
            deployment, reason = self._pending_reports[0]
            self._sync_timestamp(await run_in_thread(self._write_outcome, deployment, reason))
            self._pending_reports.pop(0)

    def _write_outcome(self, deployment: Deployment, reason: str | None) -> Deployment | None:
        with self.sessions.begin() as session:
            if reason is None:
                deployments.mark_live(session, deployment)
            else:
                deployments.mark_failed(session, deployment, reason)
            return deployments.find_live(session, deployment.model)

    def _sync_timestamp(self, live: Deployment | None) -> bool:
        """Return True when the database's live deployment is the one served, and take over since when."""
        serving = self.served.live
        if serving is None or live is None or serving.deployment.id != live.id:
            return False
        self.served.live = replace(serving, since=live.live_at or serving.since)
        return True

    async def _wait_for_work(self) -> None:
        """Wait until woken, or until a deferred deployment is due."""
        now = time.monotonic()
        pauses = [postponed.due_at - now for postponed in self._backoffs.values() if postponed.due_at > now]
        pause = 1.0 if self.served.database_error else min([self.settings.poll_seconds, *pauses])
        try:
            await asyncio.wait_for(self.wake_event.wait(), pause)
        except TimeoutError:
            return

    async def _stop(self) -> None:
        await self._auto_rollback.stop()
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        if self.served.live is not None:
            await self.served.live.pool.close()


async def cancel_start(starting: asyncio.Task[LiveRelease]) -> None:
    """Cancel a start, also one that has just finished."""
    starting.cancel()
    [found] = await asyncio.gather(starting, return_exceptions=True)
    if isinstance(found, LiveRelease):
        await found.pool.close()


async def drain_and_close(pool: Pool) -> None:
    """Drain the pool and close it; close it also when cancelled."""
    try:
        await pool.drain()
    finally:
        await pool.close()
