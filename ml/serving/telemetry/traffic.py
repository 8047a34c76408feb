"""Recording of each minute's requests in Postgres, off the hot path: counters are sampled once a minute."""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common.system.threads import run_in_thread
from db import traffic
from db.session import DB_ERRORS, describe_error
from db.traffic import RequestCounts
from ml.serving.counters import LATENCY_BOUNDS_SECONDS, RequestStats

NO_COUNTS = RequestCounts([0] * (len(LATENCY_BOUNDS_SECONDS) + 1), 0)
SHUTDOWN_SECONDS = 2.0  # for the minute that is cut off by the end of the process


class TrafficRecorder:
    """A recorder whose `run` writes at each multiple of `seconds` of Postgres's clock, until cancelled.

    Postgres is not called while there are no requests. A minute that it does not accept is lost.
    """

    def __init__(self, stats: RequestStats, sessions: sessionmaker[Session], seconds: float = 60.0) -> None:
        self._stats, self._sessions, self._interval_seconds = stats, sessions, seconds
        self._recorded: dict[str, RequestCounts] = {}  # of each model, when it was sampled last
        self._sampled_at = time.monotonic()
        self._clock_offset = time.time() - self._sampled_at  # Postgres's clock, of the monotonic one

    def count_unrecorded(self) -> dict[str, RequestCounts]:
        """Return the requests of each model that had any since the last sample."""
        answered = sum_requests(self._stats)
        rest = {name: counts - self._recorded.get(name, NO_COUNTS) for name, counts in answered.items()}
        return {name: counts for name, counts in rest.items() if counts.requests}

    async def run(self) -> None:
        try:
            await self._write_counts({}, timedelta())  # deletes old rows, and reads Postgres's clock
            while True:
                await asyncio.sleep(self._seconds_until_due())
                await self._record_sample()
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._record_sample(), SHUTDOWN_SECONDS)

    def _seconds_until_due(self) -> float:
        """Return the seconds until the next multiple, or the one after if it is due: timers end early."""
        rest = self._interval_seconds - (time.monotonic() + self._clock_offset) % self._interval_seconds
        return rest if rest > self._interval_seconds / 20 else rest + self._interval_seconds

    async def _record_sample(self) -> None:
        counted, now = self.count_unrecorded(), time.monotonic()
        middle, self._sampled_at = (self._sampled_at + now) / 2, now
        if not counted:
            return
        try:
            await self._write_counts(counted, timedelta(seconds=now - middle))
        finally:
            self._recorded |= {
                name: self._recorded.get(name, NO_COUNTS) + more for name, more in counted.items()
            }

    async def _write_counts(self, counted: dict[str, RequestCounts], age: timedelta) -> None:
        requests = sum(counts.requests for counts in counted.values())
        try:
            await run_in_thread(self._save_counts, counted, age)
        except DB_ERRORS as error:
            logger.debug("{} requests are missing in the charts: {}", requests, describe_error(error))
        except Exception:  # noqa: BLE001 (a bug of ours must not stop the recording)
            logger.exception("{} requests are missing in the charts", requests)

    def _save_counts(self, counted: dict[str, RequestCounts], age: timedelta) -> None:
        with self._sessions.begin() as session:
            there = traffic.record_counts(session, counted, age)
        self._clock_offset = there.timestamp() - time.monotonic()


def sum_requests(stats: RequestStats) -> dict[str, RequestCounts]:
    """Return what was answered of each model since the start, by whatever kind of call."""
    failed = {model: -count for model, count in list(stats.early.items())}  # which count as no failures
    for (model, _, status), count in list(stats.answered.items()):
        if status >= 500:
            failed[model] = failed.get(model, 0) + count
    found: dict[str, RequestCounts] = {}
    for (model, _), histogram in list(stats.latency.items()):
        found[model] = found.get(model, NO_COUNTS) + RequestCounts(list(histogram.counts), 0)
    return {
        model: RequestCounts(counts.latencies, failed.get(model, 0))
        for model, counts in found.items()
        if model
    }
