"""What a tree may hold in folders where others write as well: only what it has written counts against it."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.system.limit_checks import EXIT_OUT_OF_DISK
from common.system.process_guard import GUARD_COMMAND
from tests.harness.waiting import wait_until

MUCH = 8 << 20  # bytes; half of it is allowed
WRITES = f"""
import os, sys
with open(sys.argv[1] + "/own", "wb") as file:
    file.write(bytes({MUCH}))
    file.flush()
    os.fsync(file.fileno())
"""
WAITS = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "ready").touch()
while not (folder / "go").exists():
    time.sleep(0.05)
time.sleep(2.5)  # it is looked at twice meanwhile
"""


def start(code: str, folder: Path) -> "subprocess.Popen[bytes]":
    options = ["--disk", str(MUCH // 2), "--growth", "--shared", "--below", str(folder), "1", "SIGTERM"]
    command = [*GUARD_COMMAND, *options, sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def test_what_a_neighbour_writes_ends_nobody_else(tmp_path: Path) -> None:
    with start(WAITS, tmp_path) as waiting:
        wait_until((tmp_path / "ready").exists, 30, "it has begun")
        (tmp_path / "neighbour").write_bytes(bytes(MUCH))
        (tmp_path / "go").touch()
        assert waiting.wait(60) == 0


@pytest.mark.parametrize("more", ["", "\nimport time\ntime.sleep(60)"], ids=["and ends", "and goes on"])
def test_what_it_writes_itself_ends_it(tmp_path: Path, more: str) -> None:
    with start(WRITES + more, tmp_path) as writing:
        assert writing.wait(60) == EXIT_OUT_OF_DISK


def test_what_a_child_has_written_counts_when_that_has_ended(tmp_path: Path) -> None:
    by_child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {WRITES!r}, sys.argv[1]])"
    with start(f"{by_child}\nimport time\ntime.sleep(60)", tmp_path) as writing:
        assert writing.wait(60) == EXIT_OUT_OF_DISK
