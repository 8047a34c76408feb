"""A guard around a command: it and all that it started end when the pipe on stdin closes.

    python process_guard.py [--pass FD] [--log BYTES] [--log-anew] [--memory BYTES] [--processes N]
        [--disk BYTES] [--growth] [--shared] [--below FOLDER]… [--gently NICE] GRACE SIGNAL COMMAND…

The parent holds the pipe's other end, so the tree ends even when the parent is killed. A closed pipe,
or a first SIGTERM, sends SIGNAL to the command; what is left GRACE seconds later, or at a second SIGTERM,
is killed. Ends with the command's exit code (128 + n for signal n). The command inherits FD and nothing
else. Standard library only, to start fast.

--log     the command's output goes through a pipe to our stdout, a file, up to so many bytes; the rest is
          lost, or with --log-anew the file is truncated and starts again
--memory  the tree is killed when it uses more than so much; the exit code is then OUT_OF_MEMORY. Where we
          may create a control group the kernel counts, and limits the tree to N processes; else we poll
--disk    the same for the content of these FOLDERs, also when that is too many files or too deep, and for
          unlinked files that it has open: OUT_OF_DISK
--growth  the content of the FOLDERs at the start does not count
--shared  others write there, too: the tree is not killed before it has written so much itself
--gently  the command's session runs at this nice value (sched(7), autogroup) until we get a SIGUSR1
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

if not __package__:
    sys.path.insert(0, __file__.rpartition("/common/")[0])

from common.system import cgroups
from common.system.limit_checks import (
    EXIT_OUT_OF_MEMORY,
    OUT_OF_MEMORY_MESSAGE,
    LimitCheck,
    make_limit_checks,
    open_own_counts,
)
from common.system.output_log import OutputLog
from common.system.process_tree import kill_tree, reap_children
from common.system.session_nice import set_session_nice

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36  # <linux/prctl.h>
GUARD_COMMAND = (sys.executable, "-I", "-S", __file__)  # the command line that others start it by
MAX_GUARD_NICENESS = 10
prctl = ctypes.CDLL(None).prctl


def start_command(
    command: list[str], options: dict[str, int], output: int | None
) -> "tuple[subprocess.Popen[bytes], cgroups.ControlGroup | None]":
    """Start `command` in its own session and, where possible, its own control group.

    It dies with the guard should that be killed.
    """
    memory, passed = options.get("--memory"), options.get("--pass")
    group = cgroups.create(memory, options["--processes"]) if memory else None
    try:
        child = spawn_command(command, passed, output, options.get("--gently", 0), group)
    except subprocess.SubprocessError:  # we may not enter the group
        if group is None:
            raise
        group.remove()
        group, child = None, spawn_command(command, passed, output, options.get("--gently", 0), None)
    # an end of a pipe that stays open here would hide that the command closed its own
    for fd in (passed, output):
        if fd is not None:
            os.close(fd)
    return child, group


def spawn_command(
    command: list[str], passed: int | None, output: int | None, nice: int, group: cgroups.ControlGroup | None
) -> "subprocess.Popen[bytes]":
    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if group:
            group.add_current_process()
        if nice:
            set_session_nice("self", nice)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=() if passed is None else (passed,),
        preexec_fn=prepare,  # noqa: PLW1509 (one thread)
    )


def guard_command(
    grace: float, stop_signal: signal.Signals, command: list[str], options: dict[str, int], folders: list[str]
) -> int:
    """Run `command` until it ends or has to stop; return its exit code."""
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, signal.SIGUSR1, *STOP_SIGNALS):
        signal.signal(number, lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    own_counts = open_own_counts()
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # our environment may hold secrets: no model of the same user reads it
    log = OutputLog(options["--log"], "--log-anew" in options) if "--log" in options else None
    # referenced to the end: a Popen that is garbage collected reaps its child unnoticed
    process, group = start_command(command, options, log.write_end if log else None)
    child = process.pid
    watched = make_limit_checks(options, folders, child, own_counts, counted=group is not None)
    sources = [wake, log.read_end] if log else [wake]
    kill_at = None
    while True:
        ended = reap_children()
        if kill_at and time.monotonic() >= kill_at:
            ended |= kill_tree(group)
        if child in ended:
            code = ended[child] if ended[child] >= 0 else 128 - ended[child]
            if group and group.is_out_of_memory():
                return end_tree(group, watched, log, EXIT_OUT_OF_MEMORY, OUT_OF_MEMORY_MESSAGE)
            passed = next((watch for watch in watched if watch.is_exceeded_at_end()), None)
            if passed is not None:
                return end_tree(group, watched, log, passed.exit_code, passed.message)
            return end_tree(group, watched, log, code)
        for watch in watched:
            if watch.check_if_due():
                return end_tree(group, watched, log, watch.exit_code, watch.message)
        due = [*([kill_at] if kill_at else []), *(watch.due for watch in watched)]
        left = max(0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select(sources if kill_at else [*sources, 0], [], [], left)
        if log and log.read_end in ready and not log.forward_output():
            sources.remove(log.read_end)  # nobody has its other end open any more
        signals = set(os.read(wake, 64)) if wake in ready else set()
        if signal.SIGUSR1 in signals:
            set_session_nice(child, 0)
        stop_requested = signals & STOP_SIGNALS or (0 in ready and not os.read(0, 64))
        if stop_requested and kill_at:
            kill_at = time.monotonic()
        elif stop_requested:
            kill_at = time.monotonic() + grace
            os.kill(child, stop_signal)


def end_tree(
    group: cgroups.ControlGroup | None,
    checks: list[LimitCheck],
    log: OutputLog | None,
    code: int,
    message: bytes = b"",
) -> int:
    """Kill what is left of the tree; return `code`."""
    kill_tree(group)
    if group:
        group.remove()
    for watch in checks:
        watch.clean_up()
    if log:
        log.close(message)
    return code


def main(arguments: list[str]) -> int:
    options: dict[str, int] = {}  # no argparse: it would double the time to start
    folders: list[str] = []
    while arguments[0].startswith("--"):
        name = arguments.pop(0)
        if name == "--below":
            folders.append(arguments.pop(0))
        else:
            options[name] = 1 if name in ("--log-anew", "--growth", "--shared") else int(arguments.pop(0))
    grace, stop_signal, *command = arguments
    if "--gently" in options:
        # for good: guarding is never as urgent as serving, and no less than what is guarded
        set_session_nice("self", min(options["--gently"], MAX_GUARD_NICENESS))
    return guard_command(float(grace), signal.Signals[stop_signal], command, options, folders)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
