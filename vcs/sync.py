"""One sync at a time; whoever asks meanwhile shares the next one."""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from loguru import logger
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from common.words import counted
from db import appliance, pull_requests
from db.pull_requests import Accepted
from db.session import notify
from vcs import failures
from vcs.failures import SyncFailed
from vcs.settings import VcsSettings
from vcs.singer import CATALOG, Brought, Progress, Singer

CHANNEL = "pull_requests"
AGAIN = (
    15.0,
    60.0,
    240.0,
    960.0,
)  # seconds until a delivery's sync that failed is tried again, without a tick
APART = 2.0  # seconds from the beginning of one sync to the beginning of the next
HOUR, DAY = 3600, 86400
LOW = 0.1  # of the quota: below it only the tick syncs


@dataclass(frozen=True)
class Synced:
    """What a sync found."""

    repository: str
    rows: int  # pull requests that were brought: new, changed, or all of them, once a day
    newly_accepted: int
    newest_merge: Accepted | None
    seconds: float


Outcome = Synced | SyncFailed


class Sync:
    """Brings the pull requests of what is followed into the database, once, from the calling thread."""

    def __init__(self, settings: VcsSettings, sessions: sessionmaker[Session], singer: Singer) -> None:
        self.branches = settings.branches
        self.sessions, self.singer = sessions, singer
        # Other columns are in every row only when everything is brought once more.
        self.catalog = hashlib.sha256(CATALOG.read_bytes()).hexdigest()[:16]
        self._not_whole_before: dict[str, float] = {}  # by `time.monotonic`, after one that failed

    def run(self) -> Synced:
        """One repository after the other; one that fails keeps no other from being asked."""
        found: list[Synced] = []
        failed: list[SyncFailed] = []
        for repository in self.branches:
            try:
                found.append(self.one(repository))
            except SyncFailed as failure:
                failed.append(failure.of(repository) if len(self.branches) > 1 else failure)
                if failure.wait or failure.kind == "stopping":
                    break  # the others would be told the same
        if failed:
            raise failed[0]
        return together(found)

    def remember(self, outcome: Outcome) -> None:
        """For the pages and `slipway status`; what Postgres itself says needs no remembering."""
        with suppress(SQLAlchemyError), self.sessions.begin() as session:
            appliance.says(session, "github", outcome.said if isinstance(outcome, SyncFailed) else None)

    def is_owed(self) -> bool:
        """Whether GitHub has told of changes that no sync has brought."""
        try:
            with self.sessions() as session:
                return pull_requests.has_untaken_delivery(session, list(self.branches))
        except SQLAlchemyError:
            return True

    def one(self, repository: str) -> Synced:
        """When it returns, rows, state and NOTIFY are committed; after `SyncFailed` the state is the old."""
        began = time.perf_counter()
        try:
            with self.sessions() as session:
                known = pull_requests.state(session, repository) or {}
                now = pull_requests.seconds(session)
            progress = self.progress(repository, known, now)
            brought = self.bring(repository, progress)
            whole = known["whole"] if progress.state else {"at": now, "requests": brought.requests}
            with self.sessions.begin() as session:
                accepted = self.settle(session, repository, known, brought, whole)
                newest = newest_of(
                    merge
                    for branch in self.branches[repository]
                    for merge in pull_requests.accepted(session, repository, branch, limit=1)
                )
        except PoolTimeoutError as error:
            raise SyncFailed("database-gone", "all connections that vcs has to it are in use") from error
        except DBAPIError as error:
            code = getattr(error.orig, "pgcode", None)
            raise failures.database(code, type(error.orig).__name__, str(error.orig)) from error
        return Synced(repository, brought.rows, accepted, newest, round(time.perf_counter() - began, 3))

    def progress(self, repository: str, known: dict[str, Any], now: float) -> Progress:
        """What the tap has to know. Once a day everything is asked for: GitHub may show a change late."""
        if known.get("catalog") != self.catalog or "whole" not in known:
            return Progress()
        return Progress(
            {} if self.is_whole_due(repository, known["whole"], now) else known["singer"], known["newest"]
        )

    def is_whole_due(self, repository: str, last: dict[str, Any], now: float) -> bool:
        quota = self.singer.quota
        if abs(now - last["at"]) < DAY or (quota and not quota.allows(last["requests"])):
            return False
        return time.monotonic() >= self._not_whole_before.get(repository, 0)

    def bring(self, repository: str, progress: Progress) -> Brought:
        """One that asks for everything and fails gives way to those that ask for news."""
        try:
            return self.singer.sync(repository, progress)
        except SyncFailed:
            if not progress.state:
                self._not_whole_before[repository] = time.monotonic() + HOUR
            raise

    def settle(
        self,
        session: Session,
        repository: str,
        known: dict[str, Any],
        brought: Brought,
        whole: dict[str, Any],
    ) -> int:
        """Move the state forward and wake the look-out; how many are accepted that were not so before.

        Counted against the last sync that ended well: what came with one that did not is news as well.
        """
        branches = self.branches[repository]
        accepted = {b: pull_requests.count_accepted(session, repository, b) for b in branches}
        before: dict[str, int] = known.get("accepted", {})
        state = {
            "singer": brought.progress.state,
            "newest": brought.progress.newest,
            "catalog": self.catalog,
            "whole": whole,  # when everything was asked for, by Postgres's clock; how many requests it took
            "accepted": accepted,
        }
        pull_requests.save_state(session, repository, state)
        new = sum(max(0, count - before.get(branch, 0)) for branch, count in accepted.items())
        if new:
            notify(session, CHANNEL)
        return new


def newest_of(merges: Iterable[Accepted | None]) -> Accepted | None:
    return max(filter(None, merges), key=lambda merge: merge.merged_at, default=None)


def together(found: list[Synced]) -> Synced:
    """What several repositories' syncs found, as one."""
    return Synced(
        ", ".join(each.repository for each in found),
        sum(each.rows for each in found),
        sum(each.newly_accepted for each in found),
        newest_of(each.newest_merge for each in found),
        round(sum(each.seconds for each in found), 3),
    )


class Syncer:
    """The thread that syncs: when asked, and by the tick."""

    def __init__(
        self, sync: Sync, tick: float, observe: Callable[[Outcome, float], None] = lambda *_: None
    ) -> None:
        self.sync, self.tick, self.observe = sync, tick, observe
        self.last: Outcome | None = None
        self._turn = threading.Condition()
        self._asked: Future[Synced] | None = None  # of all who wait for the next sync
        self._owed = False  # GitHub has told of a change that no sync has brought
        self._failures = 0  # in a row
        self._began = -math.inf
        self._pause: tuple[float, SyncFailed] | None = None  # until when GitHub is not to be asked
        self._stopping = False
        self._thread = self._make_thread()

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._loop, name="sync", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        return self._thread.ident is not None and not self._thread.is_alive()

    def restart_if_ended(self) -> None:
        """Start the thread again where it has ended unasked."""
        with self._turn:
            if self._stopping or not self.has_ended:
                return
            logger.error("the thread that syncs has ended: it is started again")
            self._thread = self._make_thread()
            self._thread.start()

    def stop(self) -> None:
        """End the sync that runs; everybody who waits is told."""
        with self._turn:
            self._stopping = True
            self._turn.notify()
        self.sync.singer.close()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def ask(self) -> Future[Synced]:
        """The next sync's outcome, shared by all who ask before it begins. Fails at once if none may."""
        with self._turn:
            if refusal := self._refusal():
                refused: Future[Synced] = Future()
                refused.set_exception(refusal)
                return refused
            if self._asked is None:
                self._asked = Future()
                self._asked.set_running_or_notify_cancel()  # one who goes away cancels nobody else's
                self._turn.notify()
            return self._asked

    def nudge(self) -> None:
        """GitHub has told of a change: ask now, and again until a sync has brought it."""
        with self._turn:
            self._owed = True
            self._turn.notify()
        self.ask()

    def _refusal(self) -> SyncFailed | None:
        if self._stopping:
            return SyncFailed("stopping", "no sync is begun any more")
        now, quota = time.monotonic(), self.sync.singer.quota
        if self._pause and now < self._pause[0]:
            until, failure = self._pause
            return SyncFailed(failure.kind, failure.cause, math.ceil(until - now))
        if quota and (left := quota.seconds) > 0 and quota.remaining < quota.limit * LOW:
            cause = f"{quota.remaining} of {quota.limit} calls are left for {left:.0f} s"
            return SyncFailed("low-quota", cause, math.ceil(left))
        return None

    def _due(self) -> float:
        """Seconds until the next sync; 0 or less: now."""
        now = time.monotonic()
        since = now - self._began
        if self._pause and now < self._pause[0]:
            return self._pause[0] - now
        if self._asked:
            return APART - since
        if self.tick:
            return self._spaced(self.tick) - since
        again = AGAIN[min(max(self._failures, 1), len(AGAIN)) - 1]
        return self._spaced(again) - since if self._owed else math.inf

    def _spaced(self, usual: float) -> float:
        """As usual, or longer where what is left of the quota has to last until the window ends."""
        quota = self.sync.singer.quota
        if not quota or quota.seconds <= 0:
            return usual
        return max(usual, quota.seconds / max(1, quota.remaining))

    def _loop(self) -> None:
        self._owed = self._owed or (not self.tick and self.sync.is_owed())
        while self._wait():
            try:
                self._once()
            except Exception:  # noqa: BLE001 (a bug of ours must not end the thread that all wait for)
                logger.exception("what a sync found could not be noted")
        self._answer(SyncFailed("stopping", "no sync is begun any more"))

    def _wait(self) -> bool:
        """Until a sync is due; False when it is time to end."""
        with self._turn:
            while not self._stopping and (due := self._due()) > 0:
                self._turn.wait(min(due, 3600))
            return not self._stopping

    def _once(self) -> None:
        with self._turn:
            self._began = time.monotonic()
            waiting, self._asked = self._asked, None
            owed, self._owed = self._owed, False
        outcome: Outcome = SyncFailed("broken", "the thread that syncs has ended")
        try:
            outcome = self._run()
            self._note(outcome)
        finally:
            self._finish(outcome, waiting, owed=owed)

    def _note(self, outcome: Outcome) -> None:
        self.observe(outcome, time.monotonic() - self._began)
        self._log(outcome)
        if not self._stopping:
            self.sync.remember(outcome)

    def _finish(self, outcome: Outcome, waiting: Future[Synced] | None, *, owed: bool) -> None:
        failed = isinstance(outcome, SyncFailed)
        with self._turn:
            self.last, self._pause = outcome, None
            self._failures = self._failures + 1 if failed else 0
            self._owed = self._owed or (owed and failed)
            if isinstance(outcome, SyncFailed) and outcome.wait:
                self._pause = (time.monotonic() + outcome.wait, outcome)
        answer(waiting, outcome)
        if refusal := self._refusal():  # whoever waits for the next one need not wait for as long as that
            self._answer(refusal)

    def _run(self) -> Outcome:
        try:
            return self.sync.run()
        except SyncFailed as failure:
            return failure
        except Exception as error:  # noqa: BLE001 (a bug of ours must not end the thread that all wait for)
            logger.exception("the sync broke")
            return SyncFailed("broken", repr(error))

    def _answer(self, outcome: Outcome) -> None:
        with self._turn:
            waiting, self._asked = self._asked, None
        answer(waiting, outcome)

    def _log(self, outcome: Outcome) -> None:
        if isinstance(outcome, SyncFailed):
            repeated = isinstance(self.last, SyncFailed) and self.last.kind == outcome.kind
            logger.log("DEBUG" if repeated or self._stopping else "WARNING", "{}", outcome)
        elif outcome.rows or isinstance(self.last, SyncFailed):
            logger.info(
                "{}: {} brought, {} newly accepted, in {:.1f} s",
                outcome.repository,
                counted(outcome.rows, "pull request"),
                outcome.newly_accepted,
                outcome.seconds,
            )


def answer(waiting: Future[Synced] | None, outcome: Outcome) -> None:
    if waiting is None:
        return
    if isinstance(outcome, SyncFailed):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
