"""Holds a command on a leash: it and all it started end when the pipe on stdin closes.

    python leash.py [--pass FD] GRACE SIGNAL COMMAND…

The parent holds the pipe's other end, so the tree ends even when the parent is killed. A closed pipe,
or a first SIGTERM, sends SIGNAL to the command; what is left GRACE seconds later, or at a second SIGTERM,
is killed. Ends with the command's exit code (128 + n for signal n). The command inherits FD and nothing
else. Standard library only, to start fast.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ASKED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
SET_DEATH_SIGNAL, SET_SUBREAPER = 1, 36  # <linux/prctl.h>
LEASH = (sys.executable, "-I", "-S", __file__)  # the command line that others start it by
prctl = ctypes.CDLL(None).prctl


def descendants() -> list[int]:
    """Everything below this process, daemons included: a subreaper inherits what lost its parent."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(os.getpid(), ()))
    for process in found:
        found += children.get(process, ())
    return found


def reap() -> dict[int, int]:
    """The exit codes of the children that ended."""
    ended = {}
    with suppress(ChildProcessError):
        while (end := os.waitpid(-1, os.WNOHANG))[0]:
            ended[end[0]] = os.waitstatus_to_exitcode(end[1])
    return ended


def kill_tree() -> dict[int, int]:
    """Freeze, then kill, until nothing is left: a process that forks meanwhile cannot get away."""
    ended = reap()
    while tree := descendants():
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in tree:
                with suppress(ProcessLookupError):
                    os.kill(process, number)
        time.sleep(0.01)
        ended |= reap()
    return ended


def launch(command: list[str], passed: list[int]) -> "subprocess.Popen[bytes]":
    """`command`, in a session of its own. It dies with the leash should that one be killed."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=passed,
        preexec_fn=lambda: prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509 (one thread)
    )
    for fd in passed:  # an end of a pipe that stays open here would hide that the command closed its own
        os.close(fd)
    return child


def hold(grace: float, polite: signal.Signals, command: list[str], passed: list[int]) -> int:
    """Run `command` until it ends or is to end; its exit code."""
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, *ASKED):
        signal.signal(number, lambda *_: None)
    prctl(SET_SUBREAPER, 1, 0, 0, 0)
    held = launch(command, passed)  # kept to the end: a Popen that is forgotten reaps its child unseen
    child = held.pid
    kill_at = None
    while True:
        ended = reap()
        if kill_at and time.monotonic() >= kill_at:
            ended |= kill_tree()
        if child in ended:
            kill_tree()
            return ended[child] if ended[child] >= 0 else 128 - ended[child]
        left = max(0, kill_at - time.monotonic()) if kill_at else None
        ready, _, _ = select.select([wake] if kill_at else [wake, 0], [], [], left)
        signals = set(os.read(wake, 64)) if wake in ready else set()
        asked = signals & ASKED or (0 in ready and not os.read(0, 64))
        if asked and kill_at:
            kill_at = time.monotonic()
        elif asked:
            kill_at = time.monotonic() + grace
            os.kill(child, polite)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    passed_on = [int(arguments[1])] if arguments[0] == "--pass" else []
    grace_text, polite_name, *rest = arguments[2 * len(passed_on) :]
    sys.exit(hold(float(grace_text), signal.Signals[polite_name], rest, passed_on))
