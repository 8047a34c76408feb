"""One process that holds a release's model: its start, what it has yet to answer, its end."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from weakref import finalize

from loguru import logger

from common.leash import OUT_OF_DISK, OUT_OF_MEMORY
from common.problems import Problem
from ml.errors import Rejected, Strained, Unavailable
from ml.runner import local, verb
from ml.runner.sandbox import Sandbox
from ml.serving import protocol
from ml.serving.answers import Label, fault, signed
from ml.serving.protocol import Fault, Frames, Garbled, Hello, Large, PredictionJson
from ml.serving.requests import Held, overloaded
from ml.serving.threads import aside
from ml.serving.validation import JsonValidator
from ml.serving.validator import is_json

KILLED = 128 + signal.SIGKILL  # not by the leash, which has codes of its own: by the kernel or a person
TOO_MUCH = {OUT_OF_MEMORY: "memory", OUT_OF_DISK: "on disk"}


@dataclass(eq=False, slots=True)
class Request:
    """Features as a user sent them, and the promise of an answer: a prediction's JSON and who gave it."""

    body: bytes
    answer: "asyncio.Future[tuple[PredictionJson, Label]]"
    arrived: float  # when it began to wait
    name: bytes = b""  # what the client and the log call it; none: it is our own
    alone: bool = False  # it is to leave without neighbours
    blamed: bool = False  # a worker died over it: once more


@dataclass(frozen=True)
class Recipe:
    """Everything that a worker of one release is started from."""

    room: verb.Room
    artifact: Path
    entry_point: str
    kind: str | None
    log: Path
    folder: Path  # where it finds its input.json


class Worker(asyncio.Protocol):
    """Takes one frame of rows at a time; `freed` is called when it could take the next, `lost` at its end."""

    def __init__(
        self,
        label: Label,
        freed: Callable[["Worker"], None],
        lost: Callable[["Worker"], None],
        validator: JsonValidator,
        unsent: Held,
    ) -> None:
        self._label, self._freed, self._lost = label, freed, lost
        self._validator, self._unsent = validator, unsent
        self._frames = Frames(self._take, self._take_large, self._take_other)
        self._frame = 0
        self._validating: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._process: local.Process | None = None
        self.hello: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.held: deque[Request] = deque()  # in their order: the first is being worked on
        self.since = 0.0  # when it began with that one
        self.seconds_a_row = 0.0
        self.ended = False
        self.garbled: Garbled | None = None  # what it was ended for

    @property
    def free(self) -> bool:
        return not self.held and not self.ended and self.hello.done()

    async def start(self, recipe: Recipe, timeout: float) -> Hello:
        """Start the process and wait for its hello.

        Raises `Rejected` when the model does not load, `Unavailable` when this machine could not start it,
        `Strained` when it took too long or was killed.
        """
        try:
            self._process, ours = await aside(launch, recipe)
        except OSError as error:
            raise Unavailable(f"a worker could not be started: {error}") from error
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        try:
            payload = await asyncio.wait_for(asyncio.shield(self.hello), timeout)
            hello = await aside(protocol.hello, payload)
        except TimeoutError as error:
            reason = f"the model was not loaded within {verb.duration(timeout)}"
            raise Strained(f"{reason} ([resources] load_timeout, SLIPWAY_LOAD_TIMEOUT)") from error
        except (Garbled, OSError) as error:
            raise await self._silence(error, recipe.room.sandbox) from error
        if hello.error is not None:
            raise Rejected(verb.told(hello.error, recipe.room.sandbox))
        assert self._process is not None
        self._process.step_up()
        return hello

    async def _silence(self, error: Exception, held: Sandbox) -> Rejected | Unavailable:
        assert self._process is not None
        if isinstance(error, Garbled):
            said = f"the worker said what no worker says: {error}"
            hint = (
                ""
                if "examples()" in said or "JSON Schema" in said
                else ". Does the model write to foreign sockets?"
            )
            return Rejected(said + hint)
        try:
            code = await aside(self._process.wait, 5)
            fault = verb.unanswered("loading the model", code, held)
            return Strained(str(fault)) if code == KILLED else fault
        except local.TimedOut:
            return Rejected("the worker closed its socket while it loaded the model")

    def send(self, requests: list[Request]) -> None:
        """Hand it a frame of rows; only while it is `free`."""
        assert self._transport is not None
        self._frame = self._frame % 0xFFFFFFFF + 1
        self.held.extend(requests)
        self.since = time.monotonic()
        self._frames.expect(self._frame, len(requests))
        self._transport.write(protocol.question(self._frame, [request.body for request in requests]))

    def leave(self, error: Exception | None = None) -> None:
        """Hear no more of it, from this moment on."""
        if self.ended:
            return
        self.ended = True
        if self._validating is not None:
            self._validating.cancel()
        if not self.hello.done():
            self.hello.set_exception(error or ConnectionError("the worker ended"))
            self.hello.exception()  # looked at: nobody may be waiting for it any more
        if self._transport is not None:
            self._transport.abort()
        self._lost(self)

    async def end(self) -> None:
        """End the process and all it started; what it held is given back by `lost`."""
        self.leave()
        if self._process is not None:
            await aside(self._process.kill)
            if (what := TOO_MUCH.get(self._process.poll() or 0)) is not None:
                logger.warning("a worker of {} was ended: it held more {} than it may", self._label, what)

    # what follows is called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        try:
            self._frames.feed(data)
        except Garbled as error:
            self._refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave(exc)

    def _refuse(self, error: Garbled) -> None:
        logger.warning("a worker of {} is ended: {}", self._label, error)
        self.garbled = error
        self.leave(error)

    def _take(self, replies: list[bytes | Fault]) -> None:
        """Small answers to the first of what it holds; raises `Garbled` at one that is no JSON."""
        fine = 0
        for reply in replies:
            if isinstance(reply, bytes) and not is_json(reply):
                break
            fine += 1
        label = self._label
        for request, reply in zip(self._answered(fine) if fine else (), replies, strict=False):
            if request.answer.done():
                continue
            if isinstance(reply, bytes):
                request.answer.set_result((reply, label))
            else:
                request.answer.set_exception(fault(reply.payload, label))
        if fine < len(replies):
            raise Garbled("it gave a prediction that is no JSON")

    def _answered(self, rows: int) -> list[Request]:
        """That many from the front of what it holds, timed."""
        now = time.monotonic()
        self.seconds_a_row += 0.1 * ((now - self.since) / rows - self.seconds_a_row)
        self.since = now
        answered = [self.held.popleft() for _ in range(rows)]
        if not self.held:
            self._freed(self)  # the next frame leaves before these answers are written
        return answered

    def _take_large(self, prediction: Large) -> None:
        """Read no more of it until this one is looked through: one at a time is all that is held of it."""
        assert self._transport is not None
        self._frames.paused = True
        self._transport.pause_reading()
        self._validating = asyncio.get_running_loop().create_task(self._validate(prediction))

    async def _validate(self, prediction: Large) -> None:
        problem = None
        try:
            valid = await self._validator.is_json(prediction)
            self._unsent.add(prediction.size)
            finalize(prediction, self._unsent.give_back, prediction.size)
        except OSError as error:
            valid, problem = True, overloaded(str(error))
        except Problem as full:
            problem = full
        self._validating = None
        if not valid:
            self._refuse(Garbled("it gave a prediction that is no JSON"))
            return
        [request] = self._answered(1)
        if not request.answer.done() and problem is not None:
            request.answer.set_exception(signed(problem, self._label))
        elif not request.answer.done():
            request.answer.set_result((prediction, self._label))
        del prediction, request  # it is its client's alone from here on
        self._read_on()

    def _read_on(self) -> None:
        assert self._transport is not None
        self._frames.paused = False
        if not self.ended:
            self._transport.resume_reading()
            self.data_received(b"")

    def _take_other(self, kind: int, payload: bytes) -> None:
        if kind == protocol.HELLO:
            self.hello.set_result(payload)
        else:
            self._unreadable(payload)

    def _unreadable(self, payload: bytes) -> None:
        """One of the rows cannot be read by the model's Python: each for itself, to find out which."""
        held = list(self.held)
        self.held.clear()
        if len(held) == 1 and not held[0].answer.done():
            held[0].answer.set_exception(fault(payload, self._label))
        else:
            for request in held:
                request.alone = True
            self.held.extend(held)
            self._lost(self)
        self._freed(self)


def launch(recipe: Recipe) -> tuple[local.Process, socket.socket]:
    """Start the process; blocking. Gives our end of the line to it."""
    recipe.folder.mkdir(parents=True, exist_ok=True)
    question = {
        "source": str(recipe.room.source.resolve()),
        "entry_point": recipe.entry_point,
        "artifact": str(recipe.artifact.resolve()),
        "kind": recipe.kind,
    }
    # several workers may start at once, also those of another appliance
    written = recipe.folder / f"input.{os.getpid()}.{threading.get_ident()}.json"
    written.write_text(json.dumps(question))
    written.rename(recipe.folder / "input.json")
    ours, theirs = socket.socketpair()
    with theirs:
        process = local.start(
            verb.command(recipe.room, "serve", recipe.folder.resolve(), str(theirs.fileno())),
            sandbox=recipe.room.sandbox,
            cwd=recipe.room.source,
            log=recipe.log,
            scratch=recipe.room.scratch,
            ports=(),
            reads=[recipe.artifact, recipe.folder],
            environment=recipe.room.environment,
            pass_fd=theirs.fileno(),
        )
    return process, ours
