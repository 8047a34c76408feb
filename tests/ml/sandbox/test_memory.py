"""Memory is what a model holds, mapped or not: files without a disk, what waits in sockets."""

import os
import shutil
from pathlib import Path

import pytest

from common.system import cgroups
from tests.ml.sandbox.test_hostile import CHILDREN, MIB, Bench, bare_environment, bench  # noqa: F401

ENDED = "it ran out of its memory limit of 0.195 GiB"
LIMIT = 200 * MIB
FILL = """
    pairs, full = [], bytes(1 << 16)
    for _ in range(1900):
        one, other = socket.socketpair()
        one.setblocking(False)
        try:
            while True:
                one.send(full)
        except BlockingIOError:
            KEEP
    time.sleep(120)
"""
ON_THE_WAY = """pairs.append(socket.socketpair())
            socket.send_fds(pairs[-1][0], [b"."], [one.fileno(), other.fileno()])
            one.close(), other.close()"""
SHM = """
    with open("/dev/shm/slipway-large", "wb") as file:
        for _ in range(400):
            file.write(bytes(1 << 20))
        AND
        time.sleep(120)
"""
MEMORY = {
    "in sockets": FILL.replace("KEEP", "pairs.append((one, other))"),
    "in sockets that nobody has open": FILL.replace("KEEP", ON_THE_WAY),
    "in sockets whose other end is gone": FILL.replace("KEEP", "one.close(), pairs.append(other)"),
    "in a file of /dev/shm": SHM.replace("AND", "file.flush()"),
    "in a file without a name": SHM.replace("AND", 'os.unlink("/dev/shm/slipway-large")'),
    "in pages that it shares": """
    kept = mmap.mmap(-1, 400 << 20)
    for _ in range(400):
        kept.write(bytes(1 << 20))
    time.sleep(120)
    """,
    "in lists of mappings": """
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    many = libc.mmap(None, ctypes.c_size_t(64000 << 12), 0, 0x22, -1, ctypes.c_long(0))
    for at in range(0, 64000, 2):
        libc.mprotect(ctypes.c_void_p(many + (at << 12)), ctypes.c_size_t(1), 1)
    for _ in range(40):
        if os.fork() == 0:
            break
    time.sleep(120)
    """,
    "in sockets that are empty": """
    for _ in range(30):
        if os.fork() == 0:
            kept = [socket.socketpair() for _ in range(2000)]
            break
    time.sleep(120)
    """,
    "in what it has watched": """
    polls, files = [], [os.pipe()[0] for _ in range(1000)]
    for _ in range(1000):
        polls.append(select.epoll())
        for file in files:
            polls[-1].register(file, select.EPOLLIN)
    time.sleep(120)
    """,
    "in tables of pages": """
    for _ in range(400):
        kept = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | 0x4000, prot=mmap.PROT_READ)
        for at in range(0, 1 << 30, 2 << 20):
            kept[at]
        HELD.append(kept)
    time.sleep(120)
    """,
}


@pytest.mark.parametrize("where", MEMORY)
def test_memory_that_is_not_mapped_is_counted(where: str, bench: Bench) -> None:  # noqa: F811
    head = "import ctypes, mmap, select, socket, time\nHELD = []\n"
    answer = bench.train(MEMORY[where], head=head, memory=LIMIT)

    assert ENDED in str(answer)
    assert not Path("/dev/shm/slipway-large").exists()


SHARES = """
    from multiprocessing import Process, shared_memory
    block = shared_memory.SharedMemory(create=True, size=100 << 20)
    block.buf[:] = bytes(100 << 20)
    def hold():
        again = shared_memory.SharedMemory(name=block.name)
        sum(again.buf[::4096])
        time.sleep(3)
    others = [Process(target=hold) for _ in range(3)]
    for one in others:
        one.start()
    for one in others:
        one.join()
    block.unlink()
    return b"done"
"""


def test_what_processes_share_is_counted_once(bench: Bench) -> None:  # noqa: F811
    assert bench.train(SHARES, head="import time", memory=300 * MIB) == {"artifact": "done"}


def test_memory_is_counted_by_who_may_not_look_into_all(bench: Bench) -> None:  # noqa: F811
    if not bench.prefix and os.geteuid() == 0:
        assert shutil.which("setpriv"), "util-linux is part of every Debian and Ubuntu"
        bench.prefix = ["setpriv", "--bounding-set=-sys_ptrace"]
    for body in (CHILDREN, MEMORY["in sockets"]):
        answer = bench.train(body, head="import socket, time", memory=LIMIT)
        shutil.rmtree(bench.home / "releases")

        assert ENDED in str(answer)
    (bench.home / "releases/1/train.new").mkdir(parents=True)  # what is looked through at the end


MEMFD = """
    file = os.memfd_create("slipway")
    for _ in range(400):
        os.write(file, bytes(1 << 20))
    time.sleep(20)
"""


def test_a_file_without_a_disk_is_counted_or_refused(bench: Bench) -> None:  # noqa: F811
    answer = str(bench.train(MEMFD, head="import time", memory=LIMIT))

    assert ENDED in answer or "Function not implemented" in answer


GROUPED = """
    return open("/proc/self/cgroup").read().encode()
"""


def test_a_control_group_goes_with_its_tree(bench: Bench) -> None:  # noqa: F811
    answer = bench.train(GROUPED)["artifact"]
    place = cgroups.find_parent()
    if not bench.prefix:  # who is no root may have been given none
        assert (cgroups.GROUP_PREFIX in answer) is (place is not None)
    if place is not None:
        assert not [path for path in Path(place).iterdir() if path.name in answer]


def test_a_group_is_its_guards_while_that_runs() -> None:
    name = cgroups.group_name(os.getpid())

    assert cgroups.is_guard_alive(name)
    assert not cgroups.is_guard_alive(name + "1")  # began at another time: the number has been given again
    assert not cgroups.is_guard_alive(cgroups.GROUP_PREFIX + "1")
