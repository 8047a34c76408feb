"""What a guard on a leash holds ends with it, also where the guard itself does not come to that."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from ml.sandbox import local_process
from ml.sandbox.sandbox import Sandbox
from tests.harness.processes import alive
from tests.harness.waiting import wait_until
from tests.ml.sandbox.test_hostile import bare_environment  # noqa: F401

DAEMON = """
import ctypes, os, threading, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        threading.Thread(target=time.sleep, args=[60]).start()
        print(os.getpid(), flush=True)
        ctypes.CDLL(None).syscall(60, 0)
    os._exit(0)
time.sleep(60)
"""


def test_what_a_busy_guard_does_not_end_is_ended_all_the_same(
    tmp_path: Path,
    bare_environment: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looking at all that a model has made may take long; here the guard is stopped for that.

    Its daemon's first thread ends: then the process looks as if it had ended, and has not.
    """
    monkeypatch.setattr(local_process, "GUARD_SECONDS", 0.5)
    source = tmp_path / "source"
    source.mkdir()
    (source / "code.py").write_text(DAEMON)
    process = local_process.start_process(
        [bare_environment / "bin/python", "-u", "code.py"],
        sandbox=Sandbox(tmp_path.resolve(), "one", None, 1 << 30, 1 << 30, 600, ()),
        cwd=source,
        log=tmp_path / "log",
        scratch=tmp_path / "scratch",
        ports=(),
        environment=bare_environment,
    )
    wait_until(lambda: (tmp_path / "log").read_text().endswith("\n"), 20, "the daemon runs")
    daemon = psutil.Process(int((tmp_path / "log").read_text()))
    time.sleep(0.3)
    assert daemon.num_threads() == 2
    os.kill(process.pid, signal.SIGSTOP)

    process.kill()

    assert not alive([daemon])
    assert not daemon.is_running() or daemon.num_threads() <= 1
