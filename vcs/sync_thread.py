"""The thread that syncs: when asked, and by the tick."""

import math
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future

from loguru import logger

from common.system.backoff import Backoff
from common.words import format_count
from vcs.errors import SyncError
from vcs.sync import PullRequestSync, SyncOutcome, SyncReport

RETRY_BACKOFF = Backoff(15.0, 960.0, factor=4)  # until a delivery's failed sync is retried, without a tick
MIN_INTERVAL_SECONDS = 2.0  # from the start of one sync to the start of the next
QUOTA_RESERVE = 0.1  # of the quota: below it only the tick syncs
Pause = tuple[float, SyncError]


class SyncThread:
    """The thread that syncs: on request, and by the tick."""

    def __init__(
        self,
        sync: PullRequestSync,
        tick: float,
        observe: Callable[[SyncOutcome, float], None] = lambda *_: None,
    ) -> None:
        self.sync, self.tick, self.observe = sync, tick, observe
        self.last_outcome: SyncOutcome | None = None
        self._condition = threading.Condition()
        self._pending: Future[SyncReport] | None = None  # of all who wait for the next sync
        self._triggered: set[str] = set()  # repositories with a delivery that no sync has followed
        self._is_triggered = False  # a triggered sync is due now
        self._failures = 0  # in a row
        self._began = self._began_all = -math.inf
        self._pause: Pause | None = None  # until when GitHub must not be called
        self._stopping = False
        self._thread = self._make_thread()

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run_loop, name="sync", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        return self._thread.ident is not None and not self._thread.is_alive()

    def restart_if_ended(self) -> None:
        """Restart the thread where it has ended without a stop."""
        with self._condition:
            if self._stopping or not self.has_ended:
                return
            logger.error("the sync thread has ended: restarting it")
            self._thread = self._make_thread()
            self._thread.start()

    def stop(self) -> None:
        """Stop the running sync; every waiting request fails."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self.sync.singer.close()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def request_sync(self) -> Future[SyncReport]:
        """Return the next sync's outcome, shared by all requests until then. Fails at once if none may."""
        with self._condition:
            if refusal := self._find_refusal():
                refused: Future[SyncReport] = Future()
                refused.set_exception(refusal)
                return refused
            if self._pending is None:
                self._pending = Future()
                self._pending.set_running_or_notify_cancel()  # one who leaves cancels nobody else's
                self._condition.notify()
            return self._pending

    def trigger_sync(self, repository: str) -> None:
        """Sync a repository now because GitHub reported a change, and retry until a sync succeeds."""
        with self._condition:
            self._triggered.add(repository)
            self._is_triggered = self._is_triggered or not (self._find_refusal() or self._github_refusal())
            self._condition.notify()

    def _find_refusal(self) -> SyncError | None:
        if self._stopping:
            return SyncError("stopping", "no new sync is started")
        return None if self.sync.addresses else self._github_refusal()  # other servers may be called

    def _github_refusal(self) -> SyncError | None:
        now, quota = time.monotonic(), self.sync.singer.quota
        if self._pause and now < self._pause[0]:
            until, failure = self._pause
            return SyncError(failure.kind, failure.cause, math.ceil(until - now))
        if quota and (left := quota.seconds_left) > 0 and quota.remaining < quota.limit * QUOTA_RESERVE:
            cause = f"{quota.remaining} of {quota.limit} calls are left for {left:.0f} s"
            return SyncError("low-quota", cause, math.ceil(left))
        return None

    def _seconds_until_due(self) -> float:
        """Return the seconds until the next sync; 0 or less: now."""
        now = time.monotonic()
        since = now - self._began
        if self._pending and self.sync.addresses:
            return MIN_INTERVAL_SECONDS - since
        if self._pause and (now < self._pause[0] or self.tick or self._triggered):
            is_ticking = self.tick and self.sync.addresses  # GitHub's pauses do not apply to other servers
            return min(self._pause[0] - now, self.tick - since if is_ticking else math.inf)
        if self._pending or self._is_triggered:
            return MIN_INTERVAL_SECONDS - since
        if self.tick:
            return max(MIN_INTERVAL_SECONDS - since, self._seconds_until_tick())
        again = RETRY_BACKOFF.get_pause(max(self._failures, 1))
        return self._stretch_for_quota(again) - since if self._triggered else math.inf

    def _seconds_until_tick(self) -> float:
        """Return the seconds until the tick, which requests between two ticks do not defer."""
        if not self.tick:
            return math.inf
        return self._stretch_for_quota(self.tick) - (time.monotonic() - self._began_all)

    def _stretch_for_quota(self, usual: float) -> float:
        """Return the usual seconds, or more where the rest of the quota has to last until the window ends."""
        quota = self.sync.singer.quota
        if not quota or quota.seconds_left <= 0:
            return usual
        has_token = self.sync.singer.access.is_on
        repositories = len(self.sync.branches) - len(self.sync.addresses)
        calls = 1 if has_token else repositories  # with a token a 304 costs nothing
        return max(usual, calls * quota.seconds_left / max(1, quota.remaining))

    def _run_loop(self) -> None:
        if not self.tick and self.sync.has_pending_delivery():
            self._triggered |= set(self.sync.branches)
        while self._wait_until_due():
            try:
                self._run_once()
            except Exception:  # noqa: BLE001 (a bug of ours must not end the thread that all wait for)
                logger.exception("the result of a sync could not be recorded")
        self._resolve_pending(SyncError("stopping", "no new sync is started"))

    def _wait_until_due(self) -> bool:
        """Wait until a sync is due; return False when it is time to end."""
        with self._condition:
            while not self._stopping and (due := self._seconds_until_due()) > 0:
                self._condition.wait(min(due, 3600))
            return not self._stopping

    def _run_once(self) -> None:
        with self._condition:
            is_due, self._began = self._seconds_until_tick() <= 0, time.monotonic()
            pause = self._pause if self._pause and self._began < self._pause[0] else None
            is_low = not (self._pause or is_due) and self._github_refusal() is not None
            is_not_for_github = bool(pause or (self._pending and is_low and self.sync.addresses))
            is_for_all = bool(self._pending or self._pause) or is_due
            if is_for_all and not is_low:
                self._began_all = self._began
            waiting, self._pending, self._is_triggered = self._pending, None, False
            owed: set[str] = set()
            if not is_not_for_github:
                owed, self._triggered = self._triggered, owed
        outcome: SyncOutcome = SyncError("broken", "the thread that syncs has ended")
        try:
            chosen = () if is_for_all else owed
            outcome = self._run_sync(self.sync.addresses if is_not_for_github else chosen)
            self._record_outcome(outcome)
        finally:
            self._settle_outcome(outcome, waiting, owed, pause)

    def _record_outcome(self, outcome: SyncOutcome) -> None:
        self.observe(outcome, time.monotonic() - self._began)
        self._log_outcome(outcome)
        if not self._stopping:
            self.sync.record_outcome(self.sync.current_failure or outcome)

    def _settle_outcome(
        self,
        outcome: SyncOutcome,
        waiting: Future[SyncReport] | None,
        triggered: set[str],
        pause: Pause | None,
    ) -> None:
        failed = isinstance(outcome, SyncError)
        with self._condition:
            self.last_outcome, self._pause = (
                outcome if failed else self.sync.current_failure or outcome,
                pause,
            )
            self._failures = self._failures + 1 if failed else 0
            self._triggered |= triggered if failed else set()
            if isinstance(outcome, SyncError) and outcome.wait:
                self._pause = (time.monotonic() + outcome.wait, outcome)
        resolve_future(waiting, outcome)
        if refusal := self._find_refusal():  # requests for the next one need not wait for as long as that
            self._resolve_pending(refusal)

    def _run_sync(self, repositories: Collection[str]) -> SyncOutcome:
        try:
            return self.sync.run(repositories)
        except SyncError as failure:
            return failure
        except Exception as error:  # noqa: BLE001 (a bug of ours must not end the thread that all wait for)
            logger.exception("the sync broke")
            return SyncError("broken", repr(error))

    def _resolve_pending(self, outcome: SyncOutcome) -> None:
        with self._condition:
            waiting, self._pending, self._is_triggered = self._pending, None, False
        resolve_future(waiting, outcome)

    def _log_outcome(self, outcome: SyncOutcome) -> None:
        if isinstance(outcome, SyncError):
            repeated = isinstance(self.last_outcome, SyncError) and self.last_outcome.kind == outcome.kind
            logger.log("DEBUG" if repeated or self._stopping else "WARNING", "{}", outcome)
        elif outcome.rows or isinstance(self.last_outcome, SyncError):
            logger.info(
                "{}: {} synced, {} newly accepted, in {:.1f} s",
                outcome.repository,
                format_count(outcome.rows, "change"),
                outcome.newly_accepted,
                outcome.seconds,
            )


def resolve_future(waiting: Future[SyncReport] | None, outcome: SyncOutcome) -> None:
    if waiting is None:
        return
    if isinstance(outcome, SyncError):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
