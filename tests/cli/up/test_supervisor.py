"""Children are kept running, and none is left behind, whatever ends the supervisor."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness.processes import alive, tree
from tests.harness.waiting import wait_until

# Two children: one well-behaved; one that ignores SIGTERM and has a daemon of its own.
SUPERVISE = """
import os, sys
from pathlib import Path
from cli.up.console import Console
from cli.up.supervisor import Program, StopRequestedError, Supervisor

GOOD = "import time; print('good is here'); time.sleep(1000)"
STUBBORN = (
    "import signal, subprocess, time; signal.signal(signal.SIGTERM, lambda *_: print('I stay'));"
    "subprocess.Popen(['sleep', '1000'], start_new_session=True); print('stubborn is here');"
    "[time.sleep(1) for _ in range(1000)]"
)
folder, grace = Path(sys.argv[1]), float(sys.argv[2])
environment = os.environ | {"PYTHONUNBUFFERED": "1"}
supervisor = Supervisor(Console(folder / "logs"), os.open(folder / "lock", os.O_CREAT))
for name, code in (("good", GOOD), ("stubborn", STUBBORN)):
    supervisor.supervise(Program(name, (sys.executable, "-c", code), environment, grace_seconds=grace))
try:
    supervisor.wait_until(lambda: False)
except StopRequestedError:
    supervisor.stop_all(last="good")
"""

# A task that fails once. It is looked after for longer than the pause that comes before a new try.
ATTEMPT = """
import os, sys
from pathlib import Path
from cli.up.console import Console
from cli.up.supervisor import Program, Supervisor

TASK = (
    "import pathlib, sys; tries = pathlib.Path(sys.argv[1]); before = tries.exists(); "
    "tries.open('a').write('x'); sys.exit(not before)"
)
folder = Path(sys.argv[1])
supervisor = Supervisor(Console(folder / "logs"), os.open(folder / "lock", os.O_CREAT))
supervisor.run_until_success(Program("task", (sys.executable, "-c", TASK, str(folder / "tries")), os.environ))
supervisor.wait_until(lambda: (folder / "tries").exists() and (folder / "tries").read_text() == "xx", 60)
supervisor.wait_until(lambda: False, 3)
supervisor.stop_all(last="task")
"""


class Supervised:
    def __init__(self, folder: Path, grace: float, *prefix: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", SUPERVISE, str(folder), str(grace)],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.until("good", "good is here")
        self.until("stubborn", "stubborn is here")

    def log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def until(self, name: str, text: str, times: int = 1) -> None:
        wait_until(lambda: self.log(name).count(text) >= times, 20, f"{name} says {text!r}")

    def child(self, name: str) -> psutil.Process:
        mark = f"{name} is here"
        found = [p for p in tree(self.process.pid) if mark in p.cmdline()[-1] and p.cmdline()[1] == "-c"]
        return next(p for p in found if p.pid != self.process.pid)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    running = Supervised(tmp_path, grace=0.5)
    yield running
    running.process.kill()
    running.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_behind(supervised: Supervised, number: signal.Signals) -> None:
    everybody = tree(supervised.process.pid)
    assert len(everybody) == 6  # itself, two leashes, two children, a daemon
    supervised.process.send_signal(number)
    supervised.process.wait(60)
    wait_until(lambda: not alive(everybody), 20, f"all have ended after {number.name}")


def test_asked_twice_it_does_not_wait_for_the_stubborn(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, grace=1000)
    everybody = tree(supervised.process.pid)
    supervised.process.send_signal(signal.SIGINT)
    supervised.until("stubborn", "I stay")
    supervised.process.send_signal(signal.SIGINT)
    supervised.process.wait(60)
    assert alive(everybody) == []


def test_nohup_keeps_it_running(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, 0.5, "nohup")
    supervised.process.send_signal(signal.SIGHUP)
    supervised.child("good").kill()
    supervised.until("good", "good is here", times=2)
    supervised.process.terminate()
    assert supervised.process.wait(60) == 0


def test_a_child_that_dies_is_started_again(supervised: Supervised) -> None:
    first = supervised.child("good")
    first.kill()
    supervised.until("good", "good is here", times=2)
    assert supervised.child("good").pid != first.pid
    supervised.until("slipway", "good was killed by SIGKILL: restarting in 0.5 s")
    supervised.child("good").terminate()
    supervised.until("slipway", "good was killed by SIGTERM: restarting in 1 s")


def test_a_task_is_tried_until_it_ends_well(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", ATTEMPT, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)

    assert (tmp_path / "tries").read_text() == "xx"
    assert "task ended (1): restarting in 0.5 s" in (tmp_path / "logs" / "slipway.log").read_text()


def test_a_leash_that_dies_takes_its_child_along(supervised: Supervised) -> None:
    child = supervised.child("good")
    os.kill(child.ppid(), signal.SIGKILL)
    wait_until(lambda: not alive([child]), 20, "the child is gone")
    supervised.until("good", "good is here", times=2)
