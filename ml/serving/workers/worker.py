"""A worker process that holds one release's model: its start, its requests in flight, its end."""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import cast
from weakref import finalize

from loguru import logger

from common.errors import RejectedError, ResourceExhaustedError, UnavailableError
from common.problems import ProblemError
from common.system.limit_checks import EXIT_OUT_OF_DISK, EXIT_OUT_OF_MEMORY
from common.system.threads import run_in_thread
from ml.runtime import exit_errors
from ml.sandbox import local_process
from ml.sandbox.sandbox import Sandbox
from ml.serving.request_body import ByteBudget, overloaded_problem
from ml.serving.workers import wire
from ml.serving.workers.launch import WorkerSpec, launch_worker
from ml.serving.workers.responses import Label, to_problem, with_release
from ml.serving.workers.validation import JsonValidator
from ml.serving.workers.validator import is_json
from ml.serving.workers.wire import (
    ErrorReply,
    FrameReader,
    Handshake,
    LargePrediction,
    PredictionJson,
    ProtocolError,
)

# not by the process guard, which has codes of its own: by the kernel or a person
SIGKILL_EXIT_CODE = 128 + signal.SIGKILL
RESOURCE_BY_EXIT_CODE = {EXIT_OUT_OF_MEMORY: "memory", EXIT_OUT_OF_DISK: "on disk"}


class WorkerState(Enum):
    """The state of a worker; `TRANSITIONS` lists the allowed next states of each."""

    STARTING = "starting"  # loading the model
    READY = "ready"
    BUSY = "busy"  # rows are in flight
    ENDED = "ended"


TRANSITIONS = {
    WorkerState.STARTING: (WorkerState.READY, WorkerState.ENDED),
    WorkerState.READY: (WorkerState.BUSY, WorkerState.ENDED),
    WorkerState.BUSY: (WorkerState.READY, WorkerState.ENDED),
    WorkerState.ENDED: (),
}


@dataclass(eq=False, slots=True)
class RowRequest:
    """Features as a user sent them, and the future of an answer: a prediction's JSON and its release."""

    body: bytes
    answer: "asyncio.Future[tuple[PredictionJson, Label]]"
    arrived_at: float  # when it began to wait
    request_id: bytes = b""  # its id for the client and in the log; empty: a request of Slipway's own
    needs_isolation: bool = False  # it has to leave without neighbours
    is_suspect: bool = False  # a worker crashed on it: it is tried once more


class Worker(asyncio.Protocol):
    """A worker process that takes one frame of rows at a time.

    `on_idle` is called when it can take the next frame, `on_exit` at its end.
    """

    def __init__(
        self,
        label: Label,
        on_idle: Callable[["Worker"], None],
        on_exit: Callable[["Worker"], None],
        validator: JsonValidator,
        response_budget: ByteBudget,
    ) -> None:
        self._label, self._on_idle, self._on_exit = label, on_idle, on_exit
        self._validator, self._response_budget = validator, response_budget
        self._frame_reader = FrameReader(self._on_replies, self._on_large_prediction, self._on_other_reply)
        self._frame_id = 0
        self._validating: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._process: local_process.SandboxedProcess | None = None
        self.handshake: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.in_flight: deque[RowRequest] = deque()  # in their order: the first is being worked on
        self.busy_since = 0.0  # when it began with that one
        self.seconds_per_row = 0.0
        self.state = WorkerState.STARTING
        self.protocol_error: ProtocolError | None = None  # what it was ended for

    @property
    def has_ended(self) -> bool:
        return self.state is WorkerState.ENDED

    def _change_state(self, new: WorkerState) -> None:
        if new not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a worker that is {self.state.value} cannot become {new.value}")
        self.state = new

    def take_back(self) -> list[RowRequest]:
        """Take back and return the rows in flight, which the worker no longer has to answer."""
        rows = list(self.in_flight)
        self.in_flight.clear()
        if self.state is WorkerState.BUSY:
            self._change_state(WorkerState.READY)
        return rows

    async def start(self, spec: WorkerSpec, timeout: float) -> Handshake:
        """Start the process and wait for its handshake.

        Raises `RejectedError` when the model does not load, `UnavailableError` when this machine could not
        start it, `ResourceExhaustedError` when it took too long or was killed.
        """
        try:
            self._process, ours = await run_in_thread(launch_worker, spec)
        except OSError as error:
            raise UnavailableError(f"a worker could not be started: {error}") from error
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        try:
            payload = await asyncio.wait_for(asyncio.shield(self.handshake), timeout)
            handshake = await run_in_thread(wire.parse_handshake, payload)
        except TimeoutError as error:
            reason = f"the model was not loaded within {exit_errors.format_duration(timeout)}"
            raise ResourceExhaustedError(
                f"{reason} ([resources] load_timeout, SLIPWAY_LOAD_TIMEOUT)"
            ) from error
        except (ProtocolError, OSError) as error:
            raise await self._explain_failed_start(error, spec.runtime.sandbox) from error
        if handshake.error is not None:
            raise RejectedError(exit_errors.error_message(handshake.error, spec.runtime.sandbox))
        assert self._process is not None
        if not spec.runtime.sandbox.niceness:
            self._process.restore_priority()
        return handshake

    async def _explain_failed_start(
        self, error: Exception, sandbox: Sandbox
    ) -> RejectedError | UnavailableError:
        if isinstance(error, ProtocolError):
            reason = f"protocol error: {error}"
            hint = (
                ""
                if "examples()" in reason or "JSON Schema" in reason
                else ". Does the model write to file descriptors it did not open?"
            )
            return RejectedError(reason + hint)
        code = await self.wait_for_exit(5)
        if code is None:
            return RejectedError("the worker closed its socket while it loaded the model")
        fault = exit_errors.to_exit_error("loading the model", code, sandbox)
        return ResourceExhaustedError(str(fault)) if code == SIGKILL_EXIT_CODE else fault

    async def wait_for_exit(self, seconds: float) -> int | None:
        """Return the exit code of a process whose socket is closed; None when it had to be killed."""
        assert self._process is not None
        try:
            return await run_in_thread(self._process.wait, seconds)
        except local_process.ProcessTimeoutError:
            code = self._process.poll()  # its guard may have been about to report this
            return code if code in RESOURCE_BY_EXIT_CODE else None

    def send(self, requests: list[RowRequest]) -> None:
        """Send a frame of rows; only while the worker is READY."""
        assert self._transport is not None
        self._change_state(WorkerState.BUSY)
        self._frame_id = self._frame_id % 0xFFFFFFFF + 1
        self.in_flight.extend(requests)
        self.busy_since = time.monotonic()
        self._frame_reader.expect_replies(self._frame_id, len(requests))
        self._transport.write(wire.encode_request(self._frame_id, [request.body for request in requests]))

    def disconnect(self, error: Exception | None = None) -> None:
        """Close the connection; nothing more is read from the worker."""
        if self.has_ended:
            return
        self._change_state(WorkerState.ENDED)
        if self._validating is not None:
            self._validating.cancel()
        if not self.handshake.done():
            self.handshake.set_exception(error or ConnectionError("the worker ended"))
            self.handshake.exception()  # retrieved: no task may be waiting for it any more
        if self._transport is not None:
            self._transport.abort()
        self._on_exit(self)

    async def stop(self) -> None:
        """End the process and all it started; `on_exit` takes its requests in flight."""
        self.disconnect()
        if self._process is not None:
            await run_in_thread(self._process.kill)
            if (resource := RESOURCE_BY_EXIT_CODE.get(self._process.poll() or 0)) is not None:
                logger.warning(
                    "a worker of {} was ended: it used more {} than allowed", self._label, resource
                )

    # the methods below are called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        try:
            self._frame_reader.feed(data)
        except ProtocolError as error:
            self._on_protocol_error(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnect(exc)

    def _on_protocol_error(self, error: ProtocolError) -> None:
        logger.warning("a worker of {} is ended: {}", self._label, error)
        self.protocol_error = error
        self.disconnect(error)

    def _on_replies(self, replies: list[bytes | ErrorReply]) -> None:
        """Answer the first requests in flight; raises `ProtocolError` at a reply that is not JSON."""
        fine = 0
        for reply in replies:
            if isinstance(reply, bytes) and not is_json(reply):
                break
            fine += 1
        label = self._label
        for request, reply in zip(self._pop_answered(fine) if fine else (), replies, strict=False):
            if request.answer.done():
                continue
            if isinstance(reply, bytes):
                request.answer.set_result((reply, label))
            else:
                request.answer.set_exception(to_problem(reply.payload, label))
        if fine < len(replies):
            raise ProtocolError("it returned a prediction that is not JSON")

    def _pop_answered(self, rows: int) -> list[RowRequest]:
        """Remove that many requests from the front of those in flight, and time them."""
        now = time.monotonic()
        self.seconds_per_row += 0.1 * ((now - self.busy_since) / rows - self.seconds_per_row)
        self.busy_since = now
        answered = [self.in_flight.popleft() for _ in range(rows)]
        if not self.in_flight and self.state is WorkerState.BUSY:
            self._change_state(WorkerState.READY)
            self._on_idle(self)  # the next frame leaves before these answers are written
        return answered

    def _on_large_prediction(self, prediction: LargePrediction) -> None:
        """Stop reading until this one is validated: at most one large prediction is buffered per worker."""
        assert self._transport is not None
        self._frame_reader.is_paused = True
        self._transport.pause_reading()
        self._validating = asyncio.get_running_loop().create_task(self._validate_large(prediction))

    async def _validate_large(self, prediction: LargePrediction) -> None:
        problem = None
        try:
            valid = await self._validator.is_json(prediction)
            finalize(prediction, self._response_budget.reserve(prediction.size).release)
        except OSError as error:
            valid, problem = True, overloaded_problem(str(error))
        except ProblemError as full:
            problem = full
        self._validating = None
        if not valid:
            self._on_protocol_error(ProtocolError("it returned a prediction that is not JSON"))
            return
        [request] = self._pop_answered(1)
        if not request.answer.done() and problem is not None:
            request.answer.set_exception(with_release(problem, self._label))
        elif not request.answer.done():
            request.answer.set_result((prediction, self._label))
        del prediction, request  # from here on only its client refers to it
        self._resume_reading()

    def _resume_reading(self) -> None:
        assert self._transport is not None
        self._frame_reader.is_paused = False
        if not self.has_ended:
            self._transport.resume_reading()
            self.data_received(b"")

    def _on_other_reply(self, kind: int, payload: bytes) -> None:
        if kind == wire.HANDSHAKE:
            self.handshake.set_result(payload)
            self._change_state(WorkerState.READY)
        else:
            self._on_unreadable(payload)

    def _on_unreadable(self, payload: bytes) -> None:
        """Send each row alone to find the one that the model's Python cannot read."""
        requests = self.take_back()
        if len(requests) == 1 and not requests[0].answer.done():
            requests[0].answer.set_exception(to_problem(payload, self._label))
        else:
            for request in requests:
                request.needs_isolation = True
            self.in_flight.extend(requests)
            self._on_exit(self)
        self._on_idle(self)
