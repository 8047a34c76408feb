"""Calls that act on others, on what they keep in the kernel, or past the sandbox: a model gets none."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ml.sandbox import uids
from ml.sandbox.confine import system_calls
from tests.harness.processes import NOBODY
from tests.ml.sandbox.test_hostile import Bench, bare_environment, bench  # noqa: F401

NO_LANDLOCK = [sys.executable, "-m", "tests.harness.no_landlock"]
STAND_IN = """
import ctypes, json, os, sys, time
os.setresgid(USER, USER, USER)
os.setresuid(USER, USER, USER)
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(1, 9, 0, 0, 0)
kept = [libc.shmget(0, 4096, 0o1600), libc.semget(0, 1, 0o1600), libc.msgget(0, 0o1600)]
libc.shmat.restype = ctypes.c_void_p
ctypes.memmove(libc.shmat(kept[0], None, 0), b"their secret", 12)
print(json.dumps(kept), flush=True)
sys.stdin.read()
libc.shmctl(kept[0], 0, None), libc.semctl(kept[1], 0, 0), libc.msgctl(kept[2], 0, None)
"""


@dataclass
class StandIn:
    """A process outside that the model's user may act on, as the kernel sees it, and what it keeps there."""

    process: psutil.Popen
    kept: list[int]

    def state(self) -> list[object]:
        told = self.process
        limits = Path(f"/proc/{told.pid}/limits").read_text()
        return [told.is_running(), told.nice(), told.ionice(), told.cpu_affinity(), limits]


@pytest.fixture
def stand_in(bench: Bench) -> Iterator[StandIn]:  # noqa: F811
    if os.geteuid() != 0:
        pytest.skip("only root starts a process as another user")
    user = NOBODY if bench.prefix else uids.uid_for(bench.home, "bench")
    made = psutil.Popen(
        [sys.executable, "-c", STAND_IN.replace("USER", str(user))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield StandIn(made, json.loads(made.stdout.readline()))
    made.stdin.close()
    made.wait(10)


ON_OTHERS = """
    import ctypes, resource
    libc = ctypes.CDLL(None, use_errno=True)
    said = {}
    def call(name, *arguments):
        ctypes.set_errno(0)
        words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        done = libc.syscall(ctypes.c_long(NUMBERS[name]), *words)
        said[name + " " + str(len(said))] = ctypes.get_errno() if done < 0 else "done"
    at, kept = OTHER, KEPT
    one = (ctypes.c_ulong * 16)(1)
    call("prlimit64", at, resource.RLIMIT_CPU, one, 0)
    call("setpriority", 0, at, 15)
    call("setpriority", 2, 0, 15)
    call("ioprio_set", 1, at, 3 << 13)
    call("ioprio_set", 3, 0, 3 << 13)
    call("sched_setscheduler", at, 5, (ctypes.c_int * 1)(0))
    call("sched_setparam", at, (ctypes.c_int * 1)(0))
    call("sched_setattr", at, one, 0)
    call("move_pages", at, 0, 0, 0, 0, 0)
    call("migrate_pages", at, 0, 0, 0)
    call("kill", -1, 0)
    call("prctl", 4, 0, 0, 0, 0)
    call("prctl", 62, 1, at, 0, 0)
    call("shmat", kept[0], 0, 0)
    call("shmctl", kept[0], 0, 0)
    call("semctl", kept[1], 0, 0)
    call("semop", kept[1], one, 1)
    call("msgctl", kept[2], 0, 0)
    call("msgsnd", kept[2], one, 1, 0)
    call("msgrcv", kept[2], one, 1, 0, 0o4000)
    call("mq_unlink", b"/none")
    call("add_key", b"user", b"slipway", b"secret", 6, -4)
    call("request_key", b"user", b"slipway", 0, 0)
    call("keyctl", 0, -4, 0)
    call("unshare", 0x10000000)
    call("unshare", 0x80)
    call("setns", 0, 0)
    call("clone", 0x10000000 | 17, 0, 0, 0, 0)
    call("clone3", one, 64)
    call("personality", 0x0040000)
    affinity = libc.sched_setaffinity(at, 8, (ctypes.c_ulong * 1)(1))
    return json.dumps([said, affinity]).encode()
"""


@pytest.mark.parametrize("without", [[], NO_LANDLOCK], ids=["", "without Landlock"])
def test_it_acts_on_nothing_else_of_its_user(
    without: list[str],
    bench: Bench,  # noqa: F811
    stand_in: StandIn,
) -> None:
    bench.prefix += without
    before = stand_in.state()
    numbers = {name: system_calls.find_number(name, os.uname().machine) for name in system_calls.CALL_NUMBERS}
    body = ON_OTHERS.replace("NUMBERS", repr(numbers)).replace("OTHER", str(stand_in.process.pid))
    said, _ = json.loads(bench.train(body.replace("KEPT", repr(stand_in.kept)))["artifact"])

    assert {name: code for name, code in said.items() if code not in (errno.ENOSYS, errno.EPERM)} == {}
    assert len(said) == 30
    assert stand_in.state() == before


EVERY = """
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    said = {}
    for name, number in NUMBERS.items():
        ctypes.set_errno(0)
        done = libc.syscall(*(ctypes.c_long(one) for one in (number, -1, 0, 0, 0, 0, 0)))
        said[name] = ctypes.get_errno() if done < 0 else 0
    return json.dumps(said).encode()
"""


def test_calls_that_no_model_needs_are_refused(bench: Bench) -> None:  # noqa: F811
    wanted = dict.fromkeys(system_calls.ABSENT_NAMES, errno.ENOSYS) | dict.fromkeys(
        system_calls.FORBIDDEN_NAMES, errno.EPERM
    )
    numbers = {name: system_calls.find_number(name, os.uname().machine) for name in wanted}
    body = EVERY.replace(
        "NUMBERS", repr({name: found for name, found in numbers.items() if found is not None})
    )
    said = json.loads(bench.train(body)["artifact"])

    assert {name: said[name] for name in said if said[name] != wanted[name]} == {}


HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}
DEFINED = re.compile(r"#define __NR_(\w+)\s+(\d+)$", re.MULTILINE)


@pytest.mark.parametrize("machine", system_calls.ARCHITECTURES)
def test_numbers_of_calls_are_the_kernels(machine: str) -> None:
    header = Path(HEADERS[machine])
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    known = {name: int(number) for name, number in DEFINED.findall(header.read_text())}
    ours = {
        name: found
        for name in system_calls.CALL_NUMBERS
        if (found := system_calls.find_number(name, machine)) is not None
    }

    assert {name: ours[name] for name in ours if ours[name] != known.get(name, ours[name])} == {}
    assert len(ours.keys() & known.keys()) > 80
