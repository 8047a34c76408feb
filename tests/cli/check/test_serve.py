"""`slipway check --serve`: the predict page of the model that passed, until Ctrl-C."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.harness.appliance import SLIPWAY
from tests.harness.processes import alive, mentioning, tree
from tests.harness.waiting import wait_until

PAGE = {"Accept": "text/html"}


@contextmanager
def started(variables: dict[str, str], folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`slipway check` as a shell starts it, in a group of its own; nothing of it is left."""
    process = subprocess.Popen(
        [*SLIPWAY, "check", *arguments],
        env=variables | {"PYTHONUNBUFFERED": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        wait_until(lambda: not mentioning(folder), 30, "nothing of the check is left")


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found
        seen.append(line)
    pytest.fail("".join(seen))


def end(process: subprocess.Popen[str]) -> int:
    """Ctrl-C, which reaches the whole group; return the exit code once all processes have ended."""
    processes: list[psutil.Process] = tree(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    code = process.wait(30)
    wait_until(lambda: not alive(processes), 30, "all have ended")
    return code


def test_the_page_of_the_model_is_served(variables: dict[str, str], sevens: Path) -> None:
    with started(variables, sevens, "--serve") as process:
        base = read_until(process, r"http://127\.0\.0\.1:\d+(?=/predict;)")[0]
        with httpx.Client(base_url=base, trust_env=False, timeout=30) as client:
            assert client.post("/predict", json=6).json()["prediction"] == ["seven", 6]
            page = client.get("/", headers=PAGE, follow_redirects=True)
            assert (page.status_code, page.url.path) == (200, "/predict")
            assert ">checked</span>" in page.text
            pages = re.findall(r'<a [^>]*href="(/\w*)"', page.text)
            assert {path: client.get(path, headers=PAGE).status_code for path in pages[1:]} == {
                "/predict": 200,
                "/docs": 200,
            }
            answered = client.get("/predict?features=6", headers=PAGE)
            assert answered.status_code == 200
            assert "/releases" not in answered.text
            assert client.get("/predict", headers={"Host": "rebound.example"}).status_code == 421
            stored = [
                read.status_code for read in map(client.get, ("/releases", "/metrics", "/pull-requests"))
            ]
            assert stored == [404] * 3
            listening = psutil.Process(process.pid).net_connections(kind="inet")
            assert {one.laddr.ip for one in listening if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
            assert end(process) == 0


def test_a_rejected_model_is_not_served(variables: dict[str, str], sevens: Path) -> None:
    (sevens / "main.py").write_text((sevens / "main.py").read_text().replace("0.25", "2.0"))
    with started(variables, sevens, "--serve") as process:
        read_until(process, "slipway: MAE 2.000, has to be at most 1.000")
        assert process.wait(30) == 1


@pytest.mark.parametrize("method", ["train", "evaluate"])
def test_ctrl_c_ends_a_check_with_all_its_processes(
    method: str, variables: dict[str, str], sevens: Path
) -> None:
    waits = 'import time; print("waits", flush=True); time.sleep(600)\n        '
    code = (sevens / "main.py").read_text()
    place = {"train": 'return b"seven"', "evaluate": 'return {"MAE"'}[method]
    (sevens / "main.py").write_text(code.replace(place, waits + place))
    log = Path(variables["SLIPWAY_HOME"]) / f"check/releases/1/logs/{method}.log"
    with started(variables, sevens) as process:
        read_until(process, f"^{method}$")
        wait_until(lambda: log.is_file() and "waits" in log.read_text(), 60, f"{method}() runs")
        assert end(process) == 130
    (sevens / "main.py").write_text(code)
    with started(variables, sevens) as process:
        read_until(process, "can be merged")
        assert process.wait(30) == 0
