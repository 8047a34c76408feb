"""The previews that run: at most two, in memory that is free, until somebody needs it or nobody them."""

import asyncio
from typing import Any

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common.errors import RejectedError, UnavailableError
from common.problems import ProblemError
from common.system.threads import run_in_thread
from db import releases, request_log
from db.models import Release
from db.session import DB_ERRORS, describe_error
from ml.paths import HomeLayout
from ml.runtime.materialize import has_artifact
from ml.serving.preview import problems
from ml.serving.preview.free_memory import count_free_bytes
from ml.serving.preview.preview import Preview, PreviewState, explain_failed_start
from ml.serving.preview.problems import Ending, ended_problem
from ml.serving.preview.replay import (
    MAX_REQUESTS,
    NotReplayedError,
    Replay,
    answer_all,
    compare_answers,
    explain_refusal,
)
from ml.serving.preview.settings import PreviewSettings
from ml.serving.registry import LiveRelease, LoadedRelease, ModelRegistry
from ml.serving.request_body import ByteBudget
from ml.serving.workers.responses import Label
from ml.serving.workers.wire import PredictionJson
from ml.settings import MlSettings

MAX_PREVIEWS = 2  # at once
MAX_WAITING_BYTES = 8 << 20  # of features, of all previews together: live has a budget of its own
MAX_ENDINGS = 100  # that are remembered, each of another release

Answer = tuple[PredictionJson, Label]


class Previews:
    """The previews of this appliance; nothing runs, and nothing waits, while there is none.

    Not thread-safe.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        settings: MlSettings,
        limits: PreviewSettings,
        sessions: sessionmaker[Session],
    ) -> None:
        self.registry, self.settings, self.limits, self.sessions = registry, settings, limits, sessions
        self.request_budget = ByteBudget(MAX_WAITING_BYTES)
        self.unreplayable: dict[int, str] = {}  # releases whose preview ended over recorded requests
        self._running: dict[int, Preview] = {}
        self._starts: dict[int, asyncio.Task[None]] = {}
        self._endings: dict[int, Ending] = {}

    def find(self, release: int) -> Preview | None:
        """Return the preview of a release that starts or is ready."""
        found = self._running.get(release)
        return found if found is not None and found.state is not PreviewState.ENDED else None

    def find_ending(self, release: int) -> Ending | None:
        """Return why the last preview of a release is over; None when there was none."""
        return self._endings.get(release)

    def check_possible(self, release: Release) -> None:
        """Raise `ProblemError` when the release can never be tried as it is; blocking."""
        if not self.limits.enabled:
            raise problems.off_problem()
        if release.model not in self.registry.by_model:
            raise problems.unserved_problem(release)
        if release.artifact is None or release.lock is None or release.python is None:
            raise problems.never_built_problem(release)
        home = HomeLayout(self.settings.home.absolute())
        if release.pruned_at is not None or not has_artifact(home, release):
            raise problems.pruned_problem(release)

    def is_possible(self, release: Release) -> bool:
        """Return whether `check_possible` passes."""
        try:
            self.check_possible(release)
        except ProblemError:
            return False
        return True

    def start(self, release: Release) -> Preview:
        """Return the preview of a release, which is started unless it runs.

        Raises `ProblemError` when there is no room for one more.
        """
        if (found := self.find(release.id)) is not None:
            return found
        self._check_room(release)
        self._endings.pop(release.id, None)
        preview = Preview(release, self.limits.idle, self.end)
        self._running[release.id] = preview
        self._starts[release.id] = asyncio.get_running_loop().create_task(self._open(preview))
        return preview

    async def wait_until_ready(self, preview: Preview) -> LoadedRelease:
        """Return the loaded release; raises `ProblemError` when its preview ends before."""
        if preview.state is PreviewState.STARTING:
            await asyncio.wait([self._starts[preview.release.id]])
        if preview.state is PreviewState.READY and preview.loaded is not None:
            return preview.loaded
        raise await self._explain_ending(preview)

    async def predict(self, preview: Preview, body: bytes, request_id: bytes) -> Answer:
        """Return the prediction for features as JSON; raises `ProblemError`."""
        loaded = await self.wait_until_ready(preview)
        try:
            return await loaded.pool.submit(body, request_id)
        except ProblemError as problem:
            if preview.state is PreviewState.ENDED:
                raise await self._explain_ending(preview) from problem
            raise

    async def end(self, preview: Preview, ending: Ending) -> None:
        """Stop a preview and remember why, or wait until another call has; goes on when it is cancelled."""
        if preview.closing is None:
            number = preview.release.id
            if preview.is_replaying and ending.has_failed:
                self.unreplayable[number] = ending.reason
            self._endings = dict([*self._endings.items(), (number, ending)][-MAX_ENDINGS:])
            preview.state = PreviewState.ENDED
            logger.info("the preview of release {} of {}: {}", number, preview.release.model, ending.reason)
            preview.closing = asyncio.get_running_loop().create_task(self._close(preview))
        await asyncio.shield(preview.closing)

    async def _close(self, preview: Preview) -> None:
        start = self._starts.pop(preview.release.id)
        try:
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            await preview.close()
        finally:
            del self._running[preview.release.id]

    async def end_all(self, reason: str) -> None:
        ending = Ending("The preview has ended", reason)
        await asyncio.gather(*(self.end(preview, ending) for preview in list(self._running.values())))

    async def make_room(self, needed: int) -> None:
        """End every preview when a deployment needs memory, in bytes, that they may take."""
        reserved = self.limits.memory * len(self._running)
        if self._running and count_free_bytes() < needed + reserved:
            await self.end_all("it was stopped: a deployment needed its memory")

    def _check_room(self, release: Release) -> None:
        if release.id in self._running:
            raise problems.stopping_problem(release)
        if len(self._running) >= MAX_PREVIEWS:
            raise problems.full_problem(sorted(self._running))
        activities = [served.activity for served in self.registry.by_model.values() if served.activity]
        if activities:
            raise problems.deploying_problem(activities[0])
        # those that run may come to hold all that they may
        needed, free = self.limits.memory * (len(self._running) + 1), count_free_bytes()
        if free < needed:
            raise problems.no_memory_problem(needed, free)

    async def _open(self, preview: Preview) -> None:
        release = preview.release
        try:
            reference_data = await run_in_thread(self._read_reference_data, release.id)
            model = self.registry.by_model[release.model].model
            await preview.open(self.settings, model, self.limits.memory, reference_data)
        except (RejectedError, UnavailableError) as fault:
            await self._end_failed(preview, fault)
        except DB_ERRORS as error:
            await self._end_failed(
                preview, UnavailableError(f"Postgres is unavailable: {describe_error(error)}")
            )
        except Exception as error:  # noqa: BLE001 (a bug of ours is told to who waits, and logged)
            logger.exception("the preview of release {} could not be started", release.id)
            await self._end_failed(preview, error)

    async def _end_failed(self, preview: Preview, fault: Exception) -> None:
        log = await run_in_thread(preview.read_log_end)
        await self.end(preview, explain_failed_start(fault, log))

    def _read_reference_data(self, release: int) -> dict[str, object]:
        with self.sessions.begin() as session:
            return releases.find_reference_data(session, release)

    async def _explain_ending(self, preview: Preview) -> ProblemError:
        """Return why it is over, once it may be started again."""
        if preview.closing is not None:
            await asyncio.shield(preview.closing)
        ending = self._endings.get(preview.release.id)
        return ended_problem(preview.release, ending or Ending("The preview has ended", "it was stopped"))

    async def replay(self, preview: Preview) -> Replay:
        """Return recorded requests before and after, asked for once for each live release."""
        live = self.registry.by_model[preview.release.model].live
        key = live.release.id if live is not None else None
        async with preview.replay_lock:
            if key not in preview.replays:
                try:
                    with preview.use():
                        preview.replays[key] = await self._replay(preview, live)
                except NotReplayedError as reason:
                    return Replay(note=str(reason))
                except ProblemError as problem:
                    return Replay(note=f"Recorded requests were not sent to it yet. {problem.detail}")
                except DB_ERRORS as error:
                    return Replay(note=f"Postgres is unavailable: {describe_error(error)}.")
            return preview.replays[key]

    def forget_replays(self, model: str) -> None:
        """Forget what was answered to recorded requests: some of them were erased."""
        for preview in self._running.values():
            if preview.release.model == model:
                preview.replays.clear()

    async def _replay(self, preview: Preview, live: LiveRelease | None) -> Replay:
        """Send recorded requests to both; raises `NotReplayedError` where there are none to send."""
        assert preview.loaded is not None
        release = preview.release
        if not self.registry.by_model[release.model].model.may_show_requests(release):
            raise NotReplayedError(explain_refusal(release))
        if (reason := self.unreplayable.get(release.id)) is not None:
            raise NotReplayedError(f"Recorded requests are not sent to it again: {reason}.")
        requests = await run_in_thread(self._read_requests, release.model)
        if not requests:
            raise NotReplayedError("No request has been recorded yet.")
        try:
            await run_in_thread(preview.close_log)
        except OSError as error:
            reason = f"its log could not be closed before that ({error.strerror})"
            raise NotReplayedError(f"Recorded requests were not sent to it: {reason}.") from error
        preview.is_replaying = True
        try:
            before, after = await asyncio.gather(
                answer_all(live.pool if live is not None else None, requests),
                answer_all(preview.loaded.pool, requests),
            )
        finally:
            preview.is_replaying = False
        return await run_in_thread(compare_answers, requests, before, after)

    def _read_requests(self, model: str) -> list[Any]:
        with self.sessions.begin() as session:
            return request_log.list_distinct_features(session, model, MAX_REQUESTS)
