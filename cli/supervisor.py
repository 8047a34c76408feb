"""Keeps programs running as children, each in a session of its own, and leaves none behind."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NoReturn

from cli.console import Console
from cli.errors import Trouble
from common.leash import LEASH

LOOK = 0.1  # seconds between two looks at what is waited for
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
SOUND = 20.0  # a child that ran so long did not die of how it was started: its pauses begin anew
OURS = "slipway"


@dataclass(frozen=True)
class Program:
    """What to run; `polite` asks it to end, and it is killed when it has not `grace` seconds later."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    polite: signal.Signals = signal.SIGTERM
    grace: float = 5


@dataclass
class Child:
    """A program as it runs now, or waits to be started again."""

    program: Program
    process: "subprocess.Popen[str]"
    kept: bool
    started: float = field(default_factory=time.monotonic)
    pause: float = FIRST_PAUSE
    due: float | None = None  # when to start it again
    last_line: str = ""
    over: bool = False  # it ended, and its last line is read

    def ask_to_end(self) -> None:
        """Let go of the leash: what it holds ends, by force if need be."""
        if self.process.stdin:
            self.process.stdin.close()


def ending(code: int) -> str:
    """How a process ended, in words; 128 and a signal's number say which signal ended it."""
    names = {number + 128: number.name for number in signal.Signals}
    return f"was killed by {names[code]}" if code in names else f"ended ({code})"


class Asked(Exception):
    """Somebody wants the appliance to end: Ctrl-C, SIGTERM, or a terminal that went away."""


class Supervisor:
    """Not thread-safe: one thread starts, waits, ends. `held` is a lock that is free once all has ended."""

    def __init__(self, console: Console, held: int) -> None:
        self.console, self.held = console, held
        self.children: dict[str, Child] = {}
        self.events: SimpleQueue[Child | None] = SimpleQueue()  # a child that ended; None: asked to end
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else `nohup` wants it to stay
            signals.append(signal.SIGHUP)
        for number in signals:
            signal.signal(number, lambda *_: self.events.put(None))

    def keep(self, program: Program) -> Child:
        """Start `program`, and start it again whenever it ends."""
        return self._launch(program, kept=True)

    def begin(self, program: Program) -> Child:
        """Start `program`, that is to end by itself: see `finish`."""
        return self._launch(program, kept=False)

    def finish(self, child: Child) -> None:
        """Wait for what was begun; `Trouble` with its last line when it fails."""
        self.wait(lambda: child.over)
        del self.children[child.program.name]
        if child.process.returncode:
            raise Trouble(child.last_line or f"{child.program.name} failed ({child.process.returncode})")

    def wait(self, ready: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Look after the children until `ready`, or for so many seconds; raises `Asked`."""
        until = time.monotonic() + seconds
        while not ready():
            if time.monotonic() >= until:
                return False
            self._look_after(min(until, time.monotonic() + LOOK))
        return True

    def stay(self) -> NoReturn:
        """Look after the children until `Asked`."""
        while True:
            self._look_after(time.monotonic() + LONGEST_PAUSE)

    def end(self, last: str) -> None:
        """End all children, the one named `last` after the others. Asked once more meanwhile: at once."""
        hurry = False
        for late in (False, True):
            leaving = [c for c in self.children.values() if (c.program.name == last) is late]
            for child in leaving:
                child.ask_to_end()
            while not all(child.over for child in leaving):
                hurry = self._asked(0.05) or hurry
                if hurry:
                    for child in leaving:
                        child.process.terminate()  # a leash that is let go and told so kills
        self.children.clear()

    def _asked(self, seconds: float) -> bool:
        try:
            return self.events.get(timeout=seconds) is None
        except Empty:
            return False

    def _look_after(self, until: float) -> None:
        """Wait until then at most for something to happen, and see to it."""
        until = min([until, *(child.due for child in self.children.values() if child.due)])
        with suppress(Empty):
            child = self.events.get(timeout=max(0, until - time.monotonic()))
            if child is None:
                raise Asked
            self._ended(child)
        for waiting in [c for c in self.children.values() if c.due and c.due <= time.monotonic()]:
            again = self._launch(waiting.program, kept=True)
            again.pause = min(waiting.pause * 2, LONGEST_PAUSE)

    def _ended(self, child: Child) -> None:
        if not child.kept:
            return
        now = time.monotonic()
        if now - child.started > SOUND:
            child.pause = FIRST_PAUSE
        child.due = now + child.pause
        how = ending(child.process.returncode)
        self.console.say(OURS, f"{child.program.name} {how}: it is started again in {child.pause:g} s")

    def _launch(self, program: Program, *, kept: bool) -> Child:
        process = subprocess.Popen(
            [*LEASH, f"{program.grace}", program.polite.name, *program.command],
            env=dict(program.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=[self.held],
        )
        child = self.children[program.name] = Child(program, process, kept)
        Thread(target=self._listen, args=[child], daemon=True).start()
        return child

    def _listen(self, child: Child) -> None:
        assert child.process.stdout
        while line := child.process.stdout.readline(65536):
            child.last_line = line.rstrip() or child.last_line
            self.console.say(child.program.name, line)
        child.process.wait()
        child.over = True
        self.events.put(child)
