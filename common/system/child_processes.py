"""The controller's children: each does one thing, in its own process that ends with the controller."""

import os
import subprocess
import sys
import time
from contextlib import suppress

from common.system.backoff import Backoff
from common.system.process_guard import GUARD_COMMAND
from common.system.spare_child import SPARE_OPTION, SPARE_SECONDS, SpareChild

GRACE_SECONDS = 5  # that a builder has to requeue its release
BACKOFF = Backoff(1.0, 60.0)  # between two starts of a child that keeps failing


class ChildProcesses:
    """Running children by name; a name runs once at a time."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._backoff: dict[str, tuple[float, int]] = {}  # name → earliest next start, the starts until now
        self._spare: SpareChild | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def list_names(self) -> list[str]:
        return list(self._running)

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Run `python -m module arguments`; a child that keeps failing is restarted with backoff."""
        due, starts = self._backoff.get(name, (0.0, 0))
        if time.monotonic() < due:
            return
        if time.monotonic() > due + BACKOFF.max_seconds:  # it ran without failing since
            starts = 0
        self._backoff[name] = (time.monotonic() + BACKOFF.get_pause(starts), starts + 1)
        self._running[name] = self._use_spare(module, arguments) or spawn([], module, *arguments)

    def prepare(self, module: str) -> None:
        """Keep a spare child for work that is about to come; its module has to `read_arguments`."""
        if self._spare and self._spare.is_usable:
            self._spare.due = time.monotonic() + SPARE_SECONDS
            return
        self.end_spare()
        with suppress(OSError):  # too many processes or open files: the work starts a child of its own
            self._spare = start_spare(module)

    def _use_spare(self, module: str, arguments: tuple[str, ...]) -> subprocess.Popen[bytes] | None:
        """Return the spare child, which now works on these arguments; None when there is none of `module`."""
        spare = self._spare
        if spare is None or spare.module != module or not spare.is_usable:
            return None
        self._spare = None
        spare.begin(arguments)
        return spare.process

    def end_spare(self) -> None:
        """End the spare child, where there is one."""
        if self._spare:
            self._spare.end()
            self._spare = None

    def reap_ended(self) -> dict[str, int]:
        """Remove the children that ended, and a spare one that waits no longer; return the exit statuses."""
        if self._spare and not self._spare.is_usable:
            self.end_spare()
        polled = {name: child.poll() for name, child in self._running.items()}
        ended = {name: status for name, status in polled.items() if status is not None}
        for name, status in ended.items():
            self._close_stdin(self._running.pop(name))
            if status == 0:
                self._backoff.pop(name, None)
        return ended

    def stop_child(self, name: str) -> None:
        """Close a child's stdin: after `GRACE_SECONDS` seconds it and all that it started is killed."""
        self._close_stdin(self._running[name])

    def stop(self) -> None:
        """Close the stdin of all children, and wait until they have ended."""
        self.end_spare()
        for child in self._running.values():
            self._close_stdin(child)
        self.wait_for_all()

    def wait_for_all(self) -> None:
        for child in self._running.values():
            child.wait()

    def list_pids(self) -> list[int]:
        return [child.pid for child in self._running.values()]

    @staticmethod
    def _close_stdin(child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        child.stdin.close()


def start_spare(module: str) -> SpareChild:
    """Start a spare child; raises `OSError`, and leaves nothing open then."""
    read_end, write_end = os.pipe()
    try:
        process = spawn(["--pass", str(read_end)], module, SPARE_OPTION, str(read_end), passed=read_end)
    except OSError:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return SpareChild(module, process, write_end)


def spawn(
    options: list[str], module: str, *arguments: str, passed: int | None = None
) -> subprocess.Popen[bytes]:
    """Start `python -m module arguments` below a guard, which passes on one file descriptor at most."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(
        [*GUARD_COMMAND, *options, str(GRACE_SECONDS), "SIGTERM", *command],
        stdin=subprocess.PIPE,
        start_new_session=True,
        pass_fds=() if passed is None else (passed,),
    )
