"""The appliance as `make up` runs it: a merge goes live, whatever is killed meanwhile, and stays live."""

import re
import signal
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.harness import plain_http
from tests.harness.appliance import Running
from tests.harness.waiting import free_port, wait_until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started = Running(tmp_path_factory.mktemp("up"), DEMO_PORT=str(free_port()))
    yield started
    started.process.terminate()
    started.process.wait()


def test_the_first_start_prints_a_link_that_signs_in(running: Running) -> None:
    link = re.findall(r"sign in as operator +(\S+)", running.said.read_text())[0]
    with plain_http.Client(
        trust_env=False, follow_redirects=True, headers={"Accept": "text/html"}
    ) as browser:
        page = browser.get(link)

    assert page.url.query == b""
    assert "Sign out" in page.text


def test_the_stand_in_for_github_listens_where_it_is_told_to(running: Running) -> None:
    address = f"http://127.0.0.1:{running.environment['DEMO_PORT']}/pulls/1"

    def is_there() -> bool:
        with suppress(httpx.TransportError):
            return plain_http.get(address, trust_env=False).is_success
        return False

    wait_until(is_there, 60, "the stand-in for GitHub")


def test_a_merge_goes_live(running: Running) -> None:
    assert running.slipway("status").startswith("live  nothing yet")
    running.checkout()
    wait_until(lambda: "building  " in running.slipway("status"), 20, "the release is under way")
    first = wait_until(running.live, 120, "a live release")
    assert set(first["metrics"]) >= {"SMAPE"}
    assert len(running.get("/predict?num_days=7").json()["prediction"]) == 7
    page = running.get("/predict?num_days=7", "text/html")
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.count("<tr") >= 7

    assert "is live now" in running.slipway("demo", "merge")
    assert running.live()["commit"] != first["commit"]
    assert f"release {running.live()['release']}" in running.slipway("status")
    assert "== train ==" in running.slipway("logs")


@pytest.mark.parametrize("module", ["ml.controller", "ml", "vcs", "postgres"])
def test_what_is_killed_comes_back(running: Running, module: str) -> None:
    before = running.live()
    killed = running.service(module)
    assert killed
    killed.kill()
    wait_until(lambda: running.service(module) not in (None, killed), 60, f"{module} runs again")
    wait_until(running.healthy, 60, "the services are well again")
    assert wait_until(running.live, 60, "something is live")["commit"] == before["commit"]
    assert "stays live" in (said := running.slipway("demo", "merge")) or "is live now" in said


def test_a_second_start_restores_what_was_live(running: Running) -> None:
    wait_until(lambda: not running.unfinished(), 120, "nothing is built")
    before, releases = running.live(), running.get("/releases").json()
    running.end()
    running.start()
    assert "sign in as operator" not in running.said.read_text()
    assert wait_until(running.live, 60, "the live release is back")["commit"] == before["commit"]
    for found, known in zip(running.get("/releases").json()["releases"], releases["releases"], strict=True):
        assert found == known
    assert len(running.get("/predict?num_days=7").json()["prediction"]) == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_behind(running: Running, number: signal.Signals) -> None:
    running.end(number)
    running.start()
    wait_until(running.live, 60, "the live release is back")
