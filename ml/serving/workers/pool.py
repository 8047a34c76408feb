"""The pool of one release's workers, which share its requests and are replaced when they crash or hang."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from loguru import logger

from common.errors import RejectedError, UnavailableError
from common.problems import ProblemError
from common.system.backoff import Backoff
from ml.serving.counters import WorkerStats
from ml.serving.request_body import ByteBudget, format_ids, overloaded_problem
from ml.serving.workers import batching
from ml.serving.workers.launch import WorkerSpec
from ml.serving.workers.responses import Label, with_release
from ml.serving.workers.validation import JsonValidator
from ml.serving.workers.wire import Handshake, PredictionJson, ProtocolError
from ml.serving.workers.worker import RowRequest, Worker, WorkerState

MAX_WAITING_REQUESTS = 2048  # requests that may wait; beyond it a client gets a 503 with Retry-After
MAX_WAITING_BATCH_ROWS = 16_000  # rows, of calls with many
DEATH_WINDOW_SECONDS = 60.0  # seconds after which a death no longer counts
MAX_RESTART_WAIT_SECONDS = 2.0  # seconds: a longer pause is not worth waiting for
MAX_FAILED_STARTS = 3  # in a row, of a release that did start once
RESTART_BACKOFF = Backoff(0.5, 15.0)  # seconds between two tries to replace a worker that keeps crashing


CrashHandler = Callable[["Pool", bytes], None]
StartFailureHandler = Callable[["Pool", str], None]
ExitHandler = Callable[[Worker], Awaitable[None]]


@dataclass(frozen=True)
class PoolLimits:
    """The number of workers, and the seconds that one may work on a row and load the model."""

    workers: int
    predict_timeout: float
    load_timeout: float


class Pool:
    """A pool that accepts `submit` from `open` until `close`; `label` comes with each answer."""

    def __init__(
        self,
        spec: WorkerSpec,
        limits: PoolLimits,
        label: Label,
        stats: WorkerStats | None = None,
        *,
        on_crash: CrashHandler | None = None,
        on_start_failure: StartFailureHandler | None = None,
        on_exit: ExitHandler | None = None,
    ) -> None:
        """Create a pool without workers.

        `on_crash` gets features that ended two workers, `on_start_failure` why no worker starts any more.
        With `on_exit` a worker that ended is not replaced: it gets that worker, and stops it.
        """
        self.spec, self.limits, self.label = spec, limits, label
        self.stats = stats or WorkerStats()
        self.handshake = Handshake()
        self.workers: list[Worker] = []
        self.queue = batching.RequestQueue()
        self.deaths = 0
        self._on_crash, self._on_start_failure = on_crash, on_start_failure
        self._on_worker_exit = on_exit
        self._validator = JsonValidator()
        # of large ones
        self._response_budget = ByteBudget(reason="answers wait for their clients to take them")
        self._failed_starts = 0  # in a row
        self._recent_deaths: deque[float] = deque()  # when the last deaths were
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watchdog: asyncio.TimerHandle | None = None
        self._closed = False
        self.successor: Pool | None = None  # the pool that replaced this one
        self._loop = asyncio.get_running_loop()

    async def open(self) -> Handshake:
        """Start every worker; raises `RejectedError` or `UnavailableError` when one cannot load the model."""
        starts = [self._loop.create_task(self._start()) for _ in range(self.limits.workers)]
        try:
            self.handshake = (await asyncio.gather(*starts))[0]
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await self.close()
            raise
        return self.handshake

    def submit(self, body: bytes, request_id: bytes = b"") -> "asyncio.Future[tuple[PredictionJson, Label]]":
        """Queue a row; the future gives the prediction's JSON and its release's label, or `ProblemError`."""
        if len(self.queue.single) >= MAX_WAITING_REQUESTS:
            raise overloaded_problem(f"{MAX_WAITING_REQUESTS} predictions wait already")
        request = self._create_request(body, request_id)
        self.queue.single.append(request)
        self._dispatch()
        return request.answer

    def submit_all(
        self, rows: Sequence[bytes], request_id: bytes
    ) -> "list[asyncio.Future[tuple[PredictionJson, Label]]]":
        """Queue each row of a call as `submit` does; raises `ProblemError` when not all of them may wait.

        After `hand_over` the successor answers, with a label of its own.
        """
        if self.successor is not None:
            return self.successor.submit_all(rows, request_id)
        if len(rows) == 1:
            return [self.submit(rows[0], request_id)]
        if self.queue.batch_row_count + len(rows) > MAX_WAITING_BATCH_ROWS:
            raise overloaded_problem(f"{self.queue.batch_row_count} rows of calls with many wait already")
        requests = [self._create_request(row, request_id) for row in rows]
        self.queue.add_batch(requests)
        self._dispatch()
        return [request.answer for request in requests]

    def _create_request(self, body: bytes, request_id: bytes) -> RowRequest:
        if not self.workers and self._get_restart_delay() > MAX_RESTART_WAIT_SECONDS:
            raise overloaded_problem("the model's workers keep ending")
        return RowRequest(body, self._loop.create_future(), time.monotonic(), request_id)

    def hand_over(self, successor: "Pool") -> None:
        """Hand waiting requests, and those of workers that crash from now on, to `successor`."""
        self.successor = successor
        successor.queue.merge_from(self.queue)
        successor._dispatch()

    async def drain(self) -> None:
        """Wait until no request is in flight; a worker that hangs is ended at its timeout."""
        while any(worker.in_flight for worker in self.workers):
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Stop the workers; unanswered requests go to the successor, or get a 503."""
        self._closed = True
        if self._watchdog is not None:
            self._watchdog.cancel()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(worker.stop() for worker in self.workers), *tasks, return_exceptions=True)
        self.workers.clear()
        self._validator.close()
        for request in self.queue:
            self._reject_request(request, overloaded_problem("the service is ending"))
        self.queue.clear()

    async def _start(self) -> Handshake:
        worker = Worker(self.label, self._on_idle, self._on_exit, self._validator, self._response_budget)
        try:
            handshake = await worker.start(self.spec, self.limits.load_timeout)
        except BaseException:
            await worker.stop()
            raise
        self.workers.append(worker)
        return handshake

    def _on_idle(self, _: Worker) -> None:
        self._dispatch()

    def _dispatch(self) -> None:
        """Send waiting requests to the workers that are free."""
        while self.queue.single or self.queue.batches:
            free = [worker for worker in self.workers if worker.state is WorkerState.READY]
            if not free:
                break
            cost = 0.0 if self.handshake.batch else free[0].seconds_per_row
            frame = batching.take_frame(self.queue, len(free), cost)
            if not frame:
                break
            self.stats.frames.add(len(frame))
            free[0].send(frame)
        if self._watchdog is None and not self._closed:
            self._watchdog = self._loop.call_later(
                min(1.0, self.limits.predict_timeout / 4), self._check_timeouts
            )

    def _check_timeouts(self) -> None:
        """End workers that hang and reject requests that waited too long; runs while there is work."""
        self._watchdog = None
        now = time.monotonic()
        timeout = self.limits.predict_timeout
        for worker in list(self.workers):
            if worker.in_flight and now - worker.busy_since > timeout:
                self._on_timeout(worker)
        for queue in (self.queue.single, *self.queue.batches):
            for request in takewhile(lambda one: now - one.arrived_at > 2 * timeout, queue):
                self._reject_request(request, overloaded_problem("it waited for too long"))
        self.queue.drop_finished()
        if self.queue or any(worker.in_flight for worker in self.workers):
            self._dispatch()

    def _on_timeout(self, worker: Worker) -> None:
        """Reject the row that takes too long; in a batch it is unidentified: requeue each row alone."""
        requests = worker.take_back()
        seconds = f"{self.limits.predict_timeout:g} s"
        ids = format_ids(
            request.request_id for request in (requests if self.handshake.batch else requests[:1])
        )
        template = "{} worked on a prediction for more than {}: its worker is ended (request {})"
        logger.warning(template, self.label, seconds, ids)
        if self.handshake.batch and len(requests) > 1:
            mark_suspect(requests)
        else:
            detail = f"The model took longer than {seconds} (SLIPWAY_PREDICT_TIMEOUT) for this prediction."
            self._reject_request(requests.pop(0), ProblemError(504, "The model is too slow", detail))
        worker.disconnect()
        self._requeue(requests)

    def _on_exit(self, worker: Worker) -> None:
        """Requeue the requests in flight of a worker that ended or returned them: the suspects, alone."""
        requests = worker.take_back()
        if worker.has_ended and requests:
            if requests[0].is_suspect:
                if self._on_crash is not None:
                    self._on_crash(self, requests[0].body)
                logger.warning(
                    "{} ended twice over request {}", self.label, format_ids([requests[0].request_id])
                )
                self._reject_request(requests.pop(0), worker_crashed_problem(worker.protocol_error))
            else:
                blamed = requests if self.handshake.batch else requests[:1]
                logger.warning(
                    "{} ended over request {}", self.label, format_ids(one.request_id for one in blamed)
                )
                mark_suspect(blamed)
        if worker.has_ended and worker in self.workers:
            self.workers.remove(worker)
            stop = Worker.stop if self._on_worker_exit is None or self._closed else self._on_worker_exit
            self._run_in_background(stop(worker))
            if self._on_worker_exit is None and not self._closed and self.successor is None:
                logger.warning("a worker of {} ended, it is replaced", self.label)
                self._record_death()
                self._run_in_background(self._replace_worker())
        self._requeue(requests)

    def _reject_request(self, request: RowRequest, problem: ProblemError) -> None:
        if not request.answer.done():
            request.answer.set_exception(with_release(problem, self.label))

    def _requeue(self, requests: list[RowRequest]) -> None:
        """Put requests back in front of the queue of the newest pool."""
        pool = self
        while pool.successor is not None:
            pool = pool.successor
        pool.queue.requeue(requests)
        pool._dispatch()

    async def _replace_worker(self) -> None:
        """Start another worker; the more have crashed lately, the longer the pause before it."""
        while not self._closed and self.successor is None:
            await asyncio.sleep(self._get_restart_delay())
            try:
                await self._start()
            except Exception as fault:  # noqa: BLE001 (also after a bug of ours the next try may succeed)
                ours = not isinstance(fault, (RejectedError, UnavailableError))
                logger.opt(exception=ours).error("no worker of {} could be started: {}", self.label, fault)
                self._record_death()
                self._failed_starts += isinstance(fault, RejectedError)
                if self._failed_starts >= MAX_FAILED_STARTS and self._on_start_failure is not None:
                    self._on_start_failure(self, str(fault))
            else:
                self._failed_starts = 0
                self.stats.restarts += 1
                self._dispatch()
                return

    def _get_restart_delay(self) -> float:
        """Return the seconds to wait; none for the first three deaths in a minute."""
        while self._recent_deaths and time.monotonic() - self._recent_deaths[0] > DEATH_WINDOW_SECONDS:
            self._recent_deaths.popleft()
        return RESTART_BACKOFF.get_pause(len(self._recent_deaths) - 3)

    def _record_death(self) -> None:
        self.deaths += 1
        self._recent_deaths.append(time.monotonic())

    def _run_in_background(self, work: Any) -> None:
        """Run a task concurrently and keep a reference: the event loop itself holds none."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def mark_suspect(requests: list[RowRequest]) -> None:
    """Mark requests that may have crashed a worker: each leaves alone, and its waiting time starts again."""
    for request in requests:
        request.is_suspect = request.needs_isolation = True
        request.arrived_at = time.monotonic()


def worker_crashed_problem(error: ProtocolError | None) -> ProblemError:
    detail = "The model's process ended twice while it worked on this prediction."
    if error is not None:
        detail = f"The model's process was ended twice over this prediction: {error}."
    return ProblemError(503, "The model crashed", detail, headers={"Retry-After": "5"})
