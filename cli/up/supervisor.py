"""A supervisor of programs as children, each in its own session, that leaves none behind."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NoReturn

from cli.errors import UserError
from cli.up.console import Console
from common.system.backoff import Backoff
from common.system.process_guard import GUARD_COMMAND

POLL_SECONDS = 0.1  # between two checks of a condition
RESTART_BACKOFF = Backoff(0.5, 10.0)
STABLE_AFTER_SECONDS = 20.0  # a child that ran so long did not fail at its start: its backoff is reset
OWN_NAME = "slipway"


@dataclass(frozen=True)
class Program:
    """A program to run; `stop_signal` stops it, and it is killed when it still runs `grace_seconds` seconds
    later.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 5


@dataclass
class Child:
    """A program's running process, or one that waits to be restarted."""

    program: Program
    process: "subprocess.Popen[str]"
    is_supervised: bool
    runs_once: bool = False  # it has one task, and is restarted only when it fails
    started_at: float = field(default_factory=time.monotonic)
    failures: int = 0  # in a row
    restart_at: float | None = None  # the time of the next start
    last_line: str = ""
    has_ended: bool = False  # it ended, and its last line is read

    def request_stop(self) -> None:
        """Close the guard's stdin: the guarded processes end, by force if need be."""
        if self.process.stdin:
            self.process.stdin.close()


def describe_exit(code: int) -> str:
    """Describe a process's exit code; 128 and a signal's number mean that the signal killed it."""
    names = {number + 128: number.name for number in signal.Signals}
    return f"was killed by {names[code]}" if code in names else f"ended ({code})"


class StopRequestedError(Exception):
    """A request to stop the appliance: Ctrl-C, SIGTERM, or a terminal that was closed."""


class Supervisor:
    """A supervisor for one thread, which starts, waits, ends. `lock_descriptor` is a lock that is free once
    all children have ended.
    """

    def __init__(self, console: Console, lock_descriptor: int) -> None:
        self.console, self.lock_descriptor = console, lock_descriptor
        self.children: dict[str, Child] = {}
        self.events: SimpleQueue[Child | None] = SimpleQueue()  # a child that ended; None: stop requested
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else `nohup` keeps it running
            signals.append(signal.SIGHUP)
        for number in signals:
            signal.signal(number, lambda *_: self.events.put(None))

    def supervise(self, program: Program) -> Child:
        """Start `program`, and restart it whenever it ends."""
        return self._launch(program, is_supervised=True)

    def run_until_success(self, program: Program) -> Child:
        """Start `program`, and restart it until it succeeds."""
        return self._launch(program, is_supervised=True, runs_once=True)

    def start(self, program: Program) -> Child:
        """Start `program`, which ends on its own: see `wait_for_exit`."""
        return self._launch(program, is_supervised=False)

    def wait_for_exit(self, child: Child) -> None:
        """Wait for a started program; raises `UserError` with its last line when it fails."""
        self.wait_until(lambda: child.has_ended)
        del self.children[child.program.name]
        if child.process.returncode:
            raise UserError(child.last_line or f"{child.program.name} failed ({child.process.returncode})")

    def wait_until(self, is_ready: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Supervise until `is_ready`, or for so many seconds; raises `StopRequestedError`."""
        until = time.monotonic() + seconds
        while not is_ready():
            if time.monotonic() >= until:
                return False
            self._handle_events(min(until, time.monotonic() + POLL_SECONDS))
        return True

    def run_forever(self) -> NoReturn:
        """Supervise until `StopRequestedError`."""
        while True:
            self._handle_events(time.monotonic() + RESTART_BACKOFF.max_seconds)

    def stop_all(self, last: str) -> None:
        """Stop all children, the one named `last` after the others. A second request kills at once."""
        hurry = False
        for late in (False, True):
            leaving = [c for c in self.children.values() if (c.program.name == last) is late]
            for child in leaving:
                child.request_stop()
            while not all(child.has_ended for child in leaving):
                hurry = self._is_stop_requested(0.05) or hurry
                if hurry:
                    for child in leaving:
                        child.process.terminate()  # a guard whose stdin is closed kills at this signal
        self.children.clear()

    def _is_stop_requested(self, seconds: float) -> bool:
        try:
            return self.events.get(timeout=seconds) is None
        except Empty:
            return False

    def _handle_events(self, until: float) -> None:
        """Wait until `until` at most for an event, and handle it."""
        until = min([until, *(child.restart_at for child in self.children.values() if child.restart_at)])
        with suppress(Empty):
            child = self.events.get(timeout=max(0, until - time.monotonic()))
            if child is None:
                raise StopRequestedError
            self._schedule_restart(child)
        for waiting in [
            c for c in self.children.values() if c.restart_at and c.restart_at <= time.monotonic()
        ]:
            again = self._launch(waiting.program, is_supervised=True, runs_once=waiting.runs_once)
            again.failures = waiting.failures

    def _schedule_restart(self, child: Child) -> None:
        if not child.is_supervised or (child.runs_once and not child.process.returncode):
            return
        now = time.monotonic()
        if now - child.started_at > STABLE_AFTER_SECONDS:
            child.failures = 0
        child.failures += 1
        pause = RESTART_BACKOFF.get_pause(child.failures)
        child.restart_at = now + pause
        how = describe_exit(child.process.returncode)
        self.console.write_line(OWN_NAME, f"{child.program.name} {how}: restarting in {pause:g} s")

    def _launch(self, program: Program, *, is_supervised: bool, runs_once: bool = False) -> Child:
        process = subprocess.Popen(
            [*GUARD_COMMAND, f"{program.grace_seconds}", program.stop_signal.name, *program.command],
            env=dict(program.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=[self.lock_descriptor],
        )
        child = self.children[program.name] = Child(program, process, is_supervised, runs_once)
        Thread(target=self._read_output, args=[child], daemon=True).start()
        return child

    def _read_output(self, child: Child) -> None:
        assert child.process.stdout
        while line := child.process.stdout.readline(65536):
            child.last_line = line.rstrip() or child.last_line
            self.console.write_line(child.program.name, line)
        child.process.wait()
        child.has_ended = True
        self.events.put(child)
