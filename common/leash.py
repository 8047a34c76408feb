"""Holds a command on a leash: it and all it started end when the pipe on stdin closes.

    python leash.py [--pass FD] [--log BYTES] [--log-anew] [--memory BYTES] [--processes N] [--disk BYTES]
        [--growth] [--below FOLDER]… [--gently NICE] GRACE SIGNAL COMMAND…

The parent holds the pipe's other end, so the tree ends even when the parent is killed. A closed pipe,
or a first SIGTERM, sends SIGNAL to the command; what is left GRACE seconds later, or at a second SIGTERM,
is killed. Ends with the command's exit code (128 + n for signal n). The command inherits FD and nothing
else. Standard library only, to start fast.

--log     what the command prints goes through a pipe to our stdout, a file, until that is so long; what
          comes then is lost, or with --log-anew the file begins anew
--memory  the tree is ended when it holds more than so much; the exit code is then OUT_OF_MEMORY. Where we may
          make a control group the kernel counts, and bounds the tree to N processes; else we look
--disk    the same for what is below these FOLDERs, also when that is too many files or too deep, and for
          files that it keeps open and are in no folder: OUT_OF_DISK
--growth  what was below the FOLDERs at the start does not count
--gently  the command's session steps back behind others (sched(7), autogroup) until we get a SIGUSR1
"""

import ctypes
import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

if not __package__:
    sys.path.insert(0, __file__.rpartition("/common/")[0])

from common import groups

ASKED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SUBREAPER = 1, 4, 36  # <linux/prctl.h>
LEASH = (sys.executable, "-I", "-S", __file__)  # the command line that others start it by
OUT_OF_MEMORY, OUT_OF_DISK = 230, 231
LOOK_EVERY = 0.5  # seconds between two looks at the tree's memory
POLLS_EVERY = 1.0  # the same at what the kernel watches for it, which a user has so much of
GROWTH_EVERY = 1.0  # the same where what is new counts
WALK_EVERY = 5.0  # seconds between two looks at folders, and more where that takes long
FILES = 1_000_000
HELD_TOO_MUCH = b"[slipway: ended, it held more memory than it may]\n"
prctl = ctypes.CDLL(None).prctl


def descendants(guard: int) -> list[int]:
    """Everything below a guard, daemons included: a subreaper inherits what lost its parent."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(guard, ()))
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


def kill_tree(group: groups.Group | None) -> dict[int, int]:
    """Freeze, then kill, until nothing is left: a process that forks meanwhile cannot get away."""
    ended = reap()
    if group:
        group.kill()
    while tree := descendants(os.getpid()):
        kill(tree)
        ended |= reap()
    return ended


def kill(tree: list[int]) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in tree:
            with suppress(ProcessLookupError):
                os.kill(process, number)
    time.sleep(0.01)


def kill_below(guard: int, seconds: float) -> bool:
    """End what a guard holds that does not do so itself, and return whether all has ended.

    The guard has to be there until then: without it what lost its parent is out of reach for good.
    """
    until = time.monotonic() + seconds
    while tree := [process for process in descendants(guard) if not has_ended(process)]:
        if time.monotonic() > until:
            return False
        kill(tree)
    return True


def has_ended(process: int) -> bool:
    """Whether it only waits for its parent to notice; where its first thread alone has ended, others run."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return True
    return fields[0] in ("Z", "X") and int(fields[17]) <= 1


def family(process: int | str) -> list[int]:
    """Everything below a process, as the kernel lists children: much cheaper than `descendants`."""
    found = []
    with suppress(OSError):  # it ended meanwhile
        for task in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208 (twice as fast)
            with open(f"/proc/{process}/task/{task}/children") as file:  # noqa: PTH123
                found += [int(child) for child in file.read().split()]
    return found + [below for child in found for below in family(child)]


def own_tree() -> list[int]:
    """Everything below this process; not all kernels list children."""
    return family("self") or descendants(os.getpid())


class Disk:
    """What a tree may hold on disk: in `folders`, and in files that no folder has any more."""

    def __init__(self, limit: int, folders: list[str]) -> None:
        self.limit, self.folders = limit, folders
        self._free = [free_bytes(folder) for folder in folders]

    def lost(self) -> int:
        """Bytes that the disk has less than at the start, whoever has them."""
        return max(free - free_bytes(folder) for free, folder in zip(self._free, self.folders, strict=True))

    def is_above(self, before: int = 0, count_before: int = 0) -> bool:
        """Whether the files hold more than was there before, are too many, or lie too deep to be looked at.

        What may be held unseen counts by what the disk has lost.
        """
        from common import unlinked  # noqa: PLC0415 (a guard that is just starting does without)

        kept = unlinked.Unlinked(own_tree())
        size, count = kept.bytes, 0
        if size > self.limit + before or (kept.has_hidden and self.lost() > self.limit):
            return True
        for found in walk(self.folders):
            size, count = size + found, count + 1
            if size > self.limit + before or count > FILES + count_before or found < 0:
                return True
        return False


def walk(folders: list[str]) -> Iterator[int]:
    """The bytes on disk of each file and folder below; -1 where one lies too deep to be looked at."""
    folders = [*folders]
    while folders:
        try:
            entries = os.scandir(folders.pop())
        except OSError as error:  # it has gone meanwhile, else
            if error.errno == errno.ENAMETOOLONG:
                yield -1
            continue
        with entries:
            for entry in entries:
                with suppress(OSError):  # it has gone meanwhile
                    found = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    yield found.st_blocks * 512


class Watch:
    """Something that the tree may not do, looked at in no more than a twentieth of the time."""

    def __init__(
        self,
        above: Callable[[], bool],
        every: float,
        code: int,
        words: bytes,
        clean_up: Callable[[], None] = lambda: None,
        *,
        at_end: Callable[[], bool] = lambda: False,
    ) -> None:
        self.above, self.every, self.code, self.words = above, every, code, words
        self.clean_up, self.at_end = clean_up, at_end  # at_end: whether it is above as the command has ended
        self.due = time.monotonic() + every

    def over(self) -> bool:
        began = time.monotonic()
        if began < self.due:
            return False
        found = self.above()
        self.due = time.monotonic() + max(self.every, 20 * (time.monotonic() - began))
        return found


def watches(options: dict[str, int], folders: list[str], child: int, *, counted: bool) -> list[Watch]:
    """What has to be looked at; memory only where the kernel has not `counted` it."""
    made = []
    if "--memory" in options and not counted:
        from common import memory  # noqa: PLC0415 (others need not wait for it)

        looker = memory.Looker(options["--memory"], child)
        made.append(
            Watch(
                lambda: looker.is_above(own_tree()),
                LOOK_EVERY,
                OUT_OF_MEMORY,
                HELD_TOO_MUCH,
                looker.remove_left,
            )
        )
    if limit := options.get("--memory"):
        from common import polls  # noqa: PLC0415 (the same)

        made.append(
            Watch(lambda: polls.is_above(own_tree(), limit), POLLS_EVERY, OUT_OF_MEMORY, HELD_TOO_MUCH)
        )
    if disk := options.get("--disk"):
        words = b"[slipway: ended, its files hold more than they may, are too many or too deep]\n"
        held = Disk(disk, folders)
        if "--growth" in options:
            made.append(growth(held, words))
        else:
            made.append(Watch(held.is_above, WALK_EVERY, OUT_OF_DISK, words))
    return made


def growth(held: Disk, words: bytes) -> Watch:
    """What comes to be below the folders; looked at as the command ends, too, for that may be soon."""
    before = [*walk(held.folders)]

    def is_above() -> bool:
        return held.is_above(sum(before), len(before))

    def is_above_at_end() -> bool:
        """Walk only where the disk has lost as much as half of it: all that others do is seldom so little."""
        return held.lost() > held.limit // 2 and is_above()

    return Watch(is_above, GROWTH_EVERY, OUT_OF_DISK, words, at_end=is_above_at_end)


def free_bytes(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Log:
    """What the command prints, on its way to our stdout."""

    def __init__(self, limit: int, anew: bool) -> None:
        self.limit, self.anew = limit, anew
        self.source, self.inlet = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.source, False)
        self.cut = False

    def take(self) -> bool:
        """Pass on what is there; whether there was anything."""
        try:
            said = os.read(self.source, 1 << 16)
        except BlockingIOError:
            return False
        if not self.cut:
            with suppress(OSError):  # the disk is full: the command need not notice
                self.write(said)
        return bool(said)

    def close(self, last: bytes = b"") -> None:
        """What the pipe still holds, and a last word of ours."""
        while self.take():
            pass
        with suppress(OSError):
            os.write(1, last)

    def write(self, said: bytes) -> None:
        room = self.limit - os.fstat(1).st_size
        if len(said) <= room:
            os.write(1, said)
        elif self.anew:
            os.ftruncate(1, 0)
            os.write(1, b"[slipway: the log was full, it begins anew]\n" + said)
        else:
            os.write(1, said[: max(0, room)] + b"\n[slipway: the log is cut here: it was too long]\n")
            self.cut = True


def step_back(process: int | str, nice: int) -> None:
    """Give the session of `process` this nice value against other sessions; 0 is what all have."""
    for _ in range(30):  # the kernel takes one such call in a tenth of a second
        try:
            Path(f"/proc/{process}/autogroup").write_text(str(nice))
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return  # no autogroups here, or the process has ended
        else:
            return


def launch(
    command: list[str], options: dict[str, int], output: int | None
) -> "tuple[subprocess.Popen[bytes], groups.Group | None]":
    """`command`, in a session and, where that can be, a group of its own.

    It dies with the leash should that one be killed.
    """
    memory, passed = options.get("--memory"), options.get("--pass")
    group = groups.make(memory, options["--processes"]) if memory else None
    try:
        child = begin(command, passed, output, options.get("--gently", 0), group)
    except subprocess.SubprocessError:  # the group was not for us to enter
        if group is None:
            raise
        group.remove()
        group, child = None, begin(command, passed, output, options.get("--gently", 0), None)
    # an end of a pipe that stays open here would hide that the command closed its own
    for fd in (passed, output):
        if fd is not None:
            os.close(fd)
    return child, group


def begin(
    command: list[str], passed: int | None, output: int | None, gently: int, group: groups.Group | None
) -> "subprocess.Popen[bytes]":
    def prepare() -> None:
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if group:
            group.enter()
        if gently:
            step_back("self", gently)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=() if passed is None else (passed,),
        preexec_fn=prepare,  # noqa: PLW1509 (one thread)
    )


def hold(
    grace: float, polite: signal.Signals, command: list[str], options: dict[str, int], folders: list[str]
) -> int:
    """Run `command` until it ends or is to end; its exit code."""
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, signal.SIGUSR1, *ASKED):
        signal.signal(number, lambda *_: None)
    prctl(SET_SUBREAPER, 1, 0, 0, 0)
    prctl(SET_DUMPABLE, 0, 0, 0, 0)  # our environment may hold secrets: no model of the same user reads it
    log = Log(options["--log"], "--log-anew" in options) if "--log" in options else None
    # kept to the end: a Popen that is forgotten reaps its child unseen
    held, group = launch(command, options, log.inlet if log else None)
    child, watched = held.pid, watches(options, folders, held.pid, counted=group is not None)
    sources = [wake, log.source] if log else [wake]
    kill_at = None
    while True:
        ended = reap()
        if kill_at and time.monotonic() >= kill_at:
            ended |= kill_tree(group)
        if child in ended:
            code = ended[child] if ended[child] >= 0 else 128 - ended[child]
            if group and group.ran_out():
                return close(group, watched, log, OUT_OF_MEMORY, HELD_TOO_MUCH)
            passed = next((watch for watch in watched if watch.at_end()), None)
            if passed is not None:
                return close(group, watched, log, passed.code, passed.words)
            return close(group, watched, log, code)
        for watch in watched:
            if watch.over():
                return close(group, watched, log, watch.code, watch.words)
        due = [*([kill_at] if kill_at else []), *(watch.due for watch in watched)]
        left = max(0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select(sources if kill_at else [*sources, 0], [], [], left)
        if log and log.source in ready and not log.take():
            sources.remove(log.source)  # nobody has its other end open any more
        signals = set(os.read(wake, 64)) if wake in ready else set()
        if signal.SIGUSR1 in signals:
            step_back(child, 0)
        asked = signals & ASKED or (0 in ready and not os.read(0, 64))
        if asked and kill_at:
            kill_at = time.monotonic()
        elif asked:
            kill_at = time.monotonic() + grace
            os.kill(child, polite)


def close(
    group: groups.Group | None, watched: list[Watch], log: Log | None, code: int, words: bytes = b""
) -> int:
    """End what is left of the tree; gives `code`."""
    kill_tree(group)
    if group:
        group.remove()
    for watch in watched:
        watch.clean_up()
    if log:
        log.close(words)
    return code


def main(arguments: list[str]) -> int:
    options: dict[str, int] = {}  # no argparse: it would double the time to start
    folders: list[str] = []
    while arguments[0].startswith("--"):
        name = arguments.pop(0)
        if name == "--below":
            folders.append(arguments.pop(0))
        else:
            options[name] = 1 if name in ("--log-anew", "--growth") else int(arguments.pop(0))
    grace, polite, *command = arguments
    if "--gently" in options:
        step_back("self", options["--gently"])  # for good: to hold it is never as urgent as to answer
    return hold(float(grace), signal.Signals[polite], command, options, folders)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
