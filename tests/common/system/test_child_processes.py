"""Children of the controller that are started before there is work for them."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from common.system import spare_child
from common.system.child_processes import ChildProcesses
from tests.harness.waiting import wait_until

MODULE = """
import os, pathlib, sys
from common.system.spare_child import read_arguments
folder = pathlib.Path(sys.argv[0]).parent
(folder / f"ready-{os.getpid()}").touch()
for argument in read_arguments():
    (folder / f"did-{argument}").write_text(str(os.getpid()))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "some_work.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{sys.path[0]}:{Path.cwd()}")
    return tmp_path


@pytest.fixture
def children() -> Iterator[ChildProcesses]:
    children = ChildProcesses()
    yield children
    children.stop()


def wait_for_spare(folder: Path, count: int = 1) -> int:
    """Return the process id of the newest spare child, once it has imported its module."""
    wait_until(lambda: len(list(folder.glob("ready-*"))) == count, 30, "the spare child waits")
    newest = max(folder.glob("ready-*"), key=lambda path: path.stat().st_mtime_ns)
    return int(newest.name.removeprefix("ready-"))


def run(children: ChildProcesses, name: str) -> None:
    children.start(name, "some_work", name)
    wait_until(lambda: children.reap_ended() or name not in children, 30, f"{name} has ended")


def test_a_spare_child_does_the_next_work(folder: Path, children: ChildProcesses) -> None:
    children.prepare("some_work")
    spare = wait_for_spare(folder)
    assert children.list_names() == []
    run(children, "one")
    run(children, "two")
    assert int((folder / "did-one").read_text()) == spare
    assert int((folder / "did-two").read_text()) != spare


def test_a_second_announcement_starts_no_second_spare(folder: Path, children: ChildProcesses) -> None:
    children.prepare("some_work")
    spare = wait_for_spare(folder)
    children.prepare("some_work")
    run(children, "one")
    assert int((folder / "did-one").read_text()) == spare
    assert len(list(folder.glob("ready-*"))) == 1


def test_a_spare_child_that_died_is_not_used(folder: Path, children: ChildProcesses) -> None:
    children.prepare("some_work")
    spare = psutil.Process(wait_for_spare(folder))
    guard = spare.parent()
    assert guard is not None
    guard.kill()
    wait_until(lambda: not spare.is_running(), 30, "the spare child is gone")
    run(children, "one")
    assert (folder / "did-one").exists()


def test_a_spare_child_ends_when_no_work_comes(
    folder: Path, children: ChildProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_child, "SPARE_SECONDS", 0)
    children.prepare("some_work")
    spare = psutil.Process(wait_for_spare(folder))
    assert not children.reap_ended()
    wait_until(lambda: not spare.is_running(), 30, "the spare child is gone")
    run(children, "one")
    assert (folder / "did-one").exists()


def test_a_spare_child_ends_with_its_parent(folder: Path) -> None:
    children = ChildProcesses()
    children.prepare("some_work")
    spare = psutil.Process(wait_for_spare(folder))
    children.stop()
    assert not spare.is_running()
    assert not list(folder.glob("did-*"))


def test_no_room_for_a_spare_child_stops_nothing(folder: Path, children: ChildProcesses) -> None:
    """It is only a preparation, and its controller would end with all that is built."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    taken = []
    with suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    ends = [taken.pop(), taken.pop()]  # room for the pipe, and no more
    try:
        for end in ends:
            os.close(end)
        children.prepare("some_work")
        for end in os.pipe():  # it has left nothing open
            os.close(end)
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    children.start("one", "some_work", "one")
    wait_until((folder / "did-one").exists, 30, "the work is done")
