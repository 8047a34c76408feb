"""The look-out's children: each does one thing, in a process of its own that ends with the look-out."""

import subprocess
import sys
import time

from common.leash import LEASH

GRACE = 5  # seconds a builder has to put its release back
LONGEST_REST = 60.0  # seconds between two starts of a child that keeps ending with its work undone


class Builders:
    """Running children by name; a name runs once at a time."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._rests: dict[str, tuple[float, float]] = {}  # name → when it may start again, the pause after

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def names(self) -> list[str]:
        return list(self._running)

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Run `python -m module arguments`; one that keeps failing rests between its starts."""
        due, pause = self._rests.get(name, (0.0, 0.0))
        if time.monotonic() < due:
            return
        if time.monotonic() > due + LONGEST_REST:  # it has worked since
            pause = 0.0
        self._rests[name] = (time.monotonic() + pause, min(LONGEST_REST, 2 * pause or 1.0))
        self._running[name] = subprocess.Popen(
            [*LEASH, str(GRACE), "SIGTERM", sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def reap(self) -> bool:
        """Forget those that ended; whether there were any."""
        ended = [name for name, child in self._running.items() if child.poll() is not None]
        for name in ended:
            child = self._running.pop(name)
            self._let_go(child)
            if child.returncode == 0:
                self._rests.pop(name, None)
        return bool(ended)

    def end(self, name: str) -> None:
        """Let go of one: it has `GRACE` seconds, then it and all it started is killed."""
        self._let_go(self._running[name])

    def stop(self) -> None:
        """Let go of all, and wait until they are gone."""
        for child in self._running.values():
            self._let_go(child)
        self.wait()

    def wait(self) -> None:
        for child in self._running.values():
            child.wait()

    def pids(self) -> list[int]:
        return [child.pid for child in self._running.values()]

    @staticmethod
    def _let_go(child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        child.stdin.close()
