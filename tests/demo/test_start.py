"""The stand-in as a process: it starts, says where it is, is killed and started again, and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.harness.environments import ROOT
from tests.harness.waiting import free_port, wait_until

Start = Callable[[int], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "SLIPWAY_HOME": str(tmp_path), "DEMO_PORT": str(port)}
        process = subprocess.Popen(
            [sys.executable, "-m", "resources.demo"],
            cwd=ROOT,
            env=environment,
            # whoever runs the tests in the background may have them ignore it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def control(port: int, name: str, seconds: float = 10, **body: Any) -> Any:
    request = Request(f"http://127.0.0.1:{port}/_control/{name}", json.dumps(body).encode())
    with urlopen(request, timeout=seconds) as answer:
        return json.load(answer)


def answers(port: int) -> Any:
    def ask() -> Any:
        try:
            return control(port, "list")
        except OSError:
            return None

    return wait_until(ask, 30, "the stand-in")


@pytest.mark.parametrize("seconds", [0.02, 0.06, 0.12])
def test_killed_in_a_merge_it_goes_on_from_there(start: Start, tmp_path: Path, seconds: float) -> None:
    port = free_port()
    process = start(port)
    answers(port)
    with suppress(OSError):  # somewhere in the merge
        control(port, "merge", seconds, number=2)
    process.kill()
    process.wait()

    start(port)
    answers(port)
    merged = control(port, "merge", number=2)

    assert merged["kind"] == "better"
    assert [pull["number"] for pull in answers(port) if pull["merged_at"]] == [1, 2]
    assert (tmp_path / "demo" / "address").read_text() == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked(start: Start, number: signal.Signals) -> None:
    port = free_port()
    process = start(port)
    answers(port)

    process.send_signal(number)

    assert process.wait(timeout=10) == 0


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "SLIPWAY_HOME": str(tmp_path), "DEMO_PORT": str(port)}
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run(
            [sys.executable, "-m", "resources.demo"],
            check=False,
            cwd=ROOT,
            env=environment,
            capture_output=True,
        )

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr.decode()
    assert "DEMO_PORT" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
