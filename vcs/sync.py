"""The syncs: one at a time; requests during a sync share the next one."""

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from db import appliance, outbox_delivery, pull_requests
from db.checks import MAX_OPEN
from db.pull_requests import Accepted
from db.session import notify
from vcs import errors
from vcs.bookmark import Bookmark, SyncResult
from vcs.errors import SyncError
from vcs.probe import GitHubProbe
from vcs.settings import VcsSettings
from vcs.singer import CATALOG_PATH, Singer

NOTIFY_CHANNEL = "pull_requests"
SYNC_CHANNEL = "syncs"  # a change at GitHub is about to be stored
HOUR_SECONDS, DAY_SECONDS = 3600, 86400
# before the newest merge: one that GitHub shows later than that is not counted as new
RECENT_WINDOW = timedelta(days=2)


@dataclass(frozen=True)
class SyncReport:
    """The result of a sync."""

    repository: str
    rows: int  # pull requests written: new, changed, or all of them, once a day
    newly_accepted: int
    newest_merge: Accepted | None
    seconds: float


SyncOutcome = SyncReport | SyncError
CountSince = tuple[str, int]  # since when, and how many were merged since then
NOTHING_COUNTED: CountSince = "-infinity", 0


class PullRequestSync:
    """A sync of the followed pull requests into the database, run in the calling thread."""

    def __init__(self, settings: VcsSettings, sessions: sessionmaker[Session], singer: Singer) -> None:
        self.branches, self.addresses = settings.branches, settings.git_addresses
        self.sessions, self.singer, self.probe = (
            sessions,
            singer,
            GitHubProbe(settings.github_api_url),
        )
        # Other columns are in every row only after a full sync.
        self.catalog = hashlib.sha256(CATALOG_PATH.read_bytes()).hexdigest()[:16]
        self._no_full_sync_before: dict[str, float] = {}  # by `time.monotonic`, after one that failed
        self._failures: dict[str, SyncError] = {}  # by repository, until one of its syncs succeeds

    def run(self, repositories: Collection[str] = ()) -> SyncReport:
        """Sync these repositories, or all; a failed one does not stop the others."""
        chosen = [name for name in self.branches if name in repositories] or list(self.branches)
        unchanged = self.find_unchanged(chosen)
        found: list[SyncReport] = []
        failed: list[SyncError] = []
        is_limited = False
        for repository in chosen:
            if is_limited and repository not in self.addresses:
                continue  # it would get the same response
            try:
                found.append(unchanged.get(repository) or self.sync_repository(repository))
                self._failures.pop(repository, None)
            except SyncError as failure:
                failed.append(failure.for_repository(repository) if len(self.branches) > 1 else failure)
                self._failures[repository] = failed[-1]
                if failure.kind == "stopping":
                    break
                is_limited = is_limited or bool(failure.wait)
        if failed:
            raise min(failed, key=failure_rank)
        return merge_reports(found)

    @property
    def current_failure(self) -> SyncError | None:
        """Return the failure that `run` raises, until it is resolved."""
        return min(self._failures.values(), key=failure_rank, default=None)

    def record_outcome(self, outcome: SyncOutcome) -> None:
        """Store the outcome for the pages and `slipway status`; Postgres's own errors need not be stored."""
        with suppress(SQLAlchemyError), self.sessions.begin() as session:
            appliance.set_problem(
                session, "github", outcome.summary if isinstance(outcome, SyncError) else None
            )

    def has_pending_delivery(self) -> bool:
        """Return whether a delivery from GitHub is not yet followed by a sync."""
        try:
            with self.sessions() as session:
                return pull_requests.has_unsynced_delivery(session, list(self.branches))
        except SQLAlchemyError:
            return True

    def find_unchanged(self, repositories: Iterable[str]) -> dict[str, SyncReport]:
        """Return reports of repositories unchanged on GitHub; those due for a full sync are not checked."""
        began = time.perf_counter()
        tags: dict[str, str] = {}
        newest: dict[str, Accepted | None] = {}
        with translate_database_errors(), self.sessions() as session:
            now = pull_requests.read_clock(session)
            for repository in repositories:
                if repository in self.addresses:  # an earlier state at GitHub does not matter
                    continue
                state = pull_requests.load_state(session, repository) or {}
                progress = self.make_bookmark(repository, state, now)
                if progress.state and (tag := progress.newest.get("etag")):
                    tags[repository] = tag
                    newest[repository] = self.find_newest_merge(session, repository)
        tokens = self.find_tokens(tags)
        same = self.probe.find_unchanged({name: tags[name] for name in tokens}, tokens)
        self.singer.quota = self.probe.quota or self.singer.quota
        each = (time.perf_counter() - began) / max(1, len(same))
        return {name: SyncReport(name, 0, 0, newest[name], round(each, 3)) for name in same}

    def find_tokens(self, repositories: Iterable[str]) -> dict[str, str]:
        """Return the tokens of repositories, but for those that get none: their sync says why."""
        found = {}
        for repository in repositories:
            with suppress(SyncError):
                found[repository] = self.singer.find_token(repository)
        return found

    def sync_repository(self, repository: str) -> SyncReport:
        """Sync one repository and commit rows, state and NOTIFY; after `SyncError` the state is the old one.

        Except where one of several branches is missing: then the changes of the others are committed.
        """
        began = time.perf_counter()
        with translate_database_errors():
            with self.sessions.begin() as session:
                state = pull_requests.load_state(session, repository) or {}
                now = pull_requests.read_clock(session)
                if repository not in self.addresses:  # those are not known to have changed
                    notify(session, SYNC_CHANNEL)
            progress = self.make_bookmark(repository, state, now)
            result = self.run_singer(repository, progress)
            whole = state["whole"] if progress.state else {"at": now, "requests": result.requests}
            with self.sessions.begin() as session:
                accepted = self.save_result(session, repository, state, result, whole)
                newest = self.find_newest_merge(session, repository)
                if not progress.state:  # once a day, also without a token to deliver them
                    outbox_delivery.prune(session)
        if result.missing:  # the pushes to the others are stored
            raise SyncError("git-no-branch", f"no branch {' and no branch '.join(result.missing)}")
        return SyncReport(repository, result.rows, accepted, newest, round(time.perf_counter() - began, 3))

    def find_newest_merge(self, session: Session, repository: str) -> Accepted | None:
        return find_newest(
            merge
            for branch in self.branches[repository]
            for merge in pull_requests.list_accepted(session, repository, branch, limit=1)
        )

    def make_bookmark(self, repository: str, previous: dict[str, Any], now: float) -> Bookmark:
        """Return the tap's bookmark. Once a day it is empty: GitHub may show a change late."""
        if repository in self.addresses:  # git shows all at once, and in a stable order
            return Bookmark(previous.get("singer", {}), previous.get("newest", {}))
        if previous.get("catalog") != self.catalog or "whole" not in previous:
            return Bookmark()
        return Bookmark(
            {} if self.is_full_sync_due(repository, previous["whole"], now) else previous["singer"],
            previous["newest"],
        )

    def is_full_sync_due(self, repository: str, last: dict[str, Any], now: float) -> bool:
        quota = self.singer.quota
        if abs(now - last["at"]) < DAY_SECONDS or (quota and not quota.can_afford(last["requests"])):
            return False
        return time.monotonic() >= self._no_full_sync_before.get(repository, 0)

    def run_singer(self, repository: str, bookmark: Bookmark) -> SyncResult:
        """Run Singer; a failed full sync gives way to incremental ones for an hour."""
        try:
            return self.singer.sync_repository(repository, bookmark)
        except SyncError:
            if not bookmark.state:
                self._no_full_sync_before[repository] = time.monotonic() + HOUR_SECONDS
            raise

    def save_result(
        self,
        session: Session,
        repository: str,
        previous: dict[str, Any],
        result: SyncResult,
        whole: dict[str, Any],
    ) -> int:
        """Advance the state and notify the controller; return the number of newly accepted pull requests.

        They are counted against the last successful sync: rows of a failed one count as new, too.
        """
        before: dict[str, CountSince] = previous.get("accepted", {})
        new, accepted = 0, {}
        for branch in self.branches[repository]:
            since, count = before.get(branch, NOTHING_COUNTED)
            new += max(0, pull_requests.count_accepted(session, repository, branch, since) - count)
            accepted[branch] = count_recent(session, repository, branch)
        state = {
            "singer": result.bookmark.state,
            "newest": result.bookmark.newest,
            "catalog": self.catalog,
            "whole": whole,  # when the last full sync was, by Postgres's clock; how many requests it took
            "accepted": accepted,
            "open": pull_requests.digest_open(session, repository, MAX_OPEN),
        }
        pull_requests.save_state(session, repository, state)
        if new or state["open"] != previous.get("open"):
            notify(session, NOTIFY_CHANNEL)
        return new


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Raise `SyncError` for errors of Postgres, or of the connection to it."""
    try:
        yield
    except PoolTimeoutError as error:
        raise SyncError("database-gone", "all connections that vcs has to it are in use") from error
    except DBAPIError as error:
        code = getattr(error.orig, "pgcode", None)
        raise errors.from_database_error(code, type(error.orig).__name__, str(error.orig)) from error


def count_recent(session: Session, repository: str, branch: str) -> CountSince:
    """Count merges since two days before the newest one: counting all would take longer and longer."""
    newest = find_newest(pull_requests.list_accepted(session, repository, branch, limit=1))
    if newest is None:
        return NOTHING_COUNTED
    since = (newest.merged_at - RECENT_WINDOW).isoformat()
    return since, pull_requests.count_accepted(session, repository, branch, since)


def find_newest(merges: Iterable[Accepted | None]) -> Accepted | None:
    return max(filter(None, merges), key=lambda merge: merge.merged_at, default=None)


def failure_rank(failure: SyncError) -> bool:
    """Sort failures: first those that stop syncs of other repositories."""
    return not failure.wait


def merge_reports(found: list[SyncReport]) -> SyncReport:
    """Return the reports of several repositories as one."""
    return SyncReport(
        ", ".join(each.repository for each in found),
        sum(each.rows for each in found),
        sum(each.newly_accepted for each in found),
        find_newest(each.newest_merge for each in found),
        round(sum(each.seconds for each in found), 3),
    )
