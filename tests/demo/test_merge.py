"""The demo as a person sees it: `slipway up`, then `slipway demo merge` while people ask for predictions."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import plain_http
from tests.harness.appliance import SLIPWAY, Running
from tests.harness.waiting import wait_until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started = Running(tmp_path_factory.mktemp("demo"))
    try:
        started.checkout()
        wait_until(started.live, 120, "a live release")
        yield started
    finally:
        started.end()


@dataclass
class Crowd:
    """Asks for a week, again and again; keeps what was no good answer, and who answered."""

    wrong: list[str] = field(default_factory=list)
    commits: set[str] = field(default_factory=set)

    def ask(self, url: str, until: threading.Event) -> None:
        with plain_http.Client(headers={"Accept": "application/json"}, timeout=30, trust_env=False) as client:
            while not until.wait(0.02):
                try:
                    answer = client.get(f"{url}/predict?num_days=7").raise_for_status().json()
                    assert len(answer["prediction"]) == 7, answer
                    self.commits.add(answer["commit"])
                except Exception as error:  # noqa: BLE001 (whatever it is, somebody's prediction failed)
                    self.wrong.append(repr(error))


@contextmanager
def crowd(running: Running) -> Iterator[Crowd]:
    people, until = Crowd(), threading.Event()
    url = f"http://127.0.0.1:{running.serve}"
    threads = [threading.Thread(target=people.ask, args=(url, until)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield people
    finally:
        until.set()
        for thread in threads:
            thread.join()


def list_checks(running: Running) -> dict[int, str]:
    """The state of the check of each open pull request, by its number; none: empty."""
    found = running.get("/models/encyclopedia-visits/pull-requests").json()["pull_requests"]
    return {pull["number"]: (pull["check"] or {"status": ""})["status"] for pull in found}


def test_open_pull_requests_are_checked_when_it_starts(running: Running) -> None:
    def ended() -> bool:
        return not {"", "queued", "building"} & set(list_checks(running).values())

    wait_until(ended, 120, "three checks")
    assert list_checks(running) == {4: "rejected", 3: "rejected", 2: "checked"}
    found = running.get("/models/encyclopedia-visits/pull-requests").json()["pull_requests"]
    better = found[2]["check"]
    assert [(metric["name"], metric["live"] > metric["value"]) for metric in better["metrics"]] == [
        ("SMAPE", True),
        ("MAE", True),
    ]
    assert better["predictions"]["compared"] > 0 and better["preview"]
    assert found[1]["check"]["metrics"][0]["passed"] is False and found[1]["check"]["predictions"]
    assert "Article" in found[0]["check"]["reason"]
    open_ones = [line for line in running.slipway("demo", "list").splitlines() if " open " in line]
    assert [line.split()[0] for line in open_ones] == ["#2", "#3", "#4"]
    assert "checked" in open_ones[0] and "SMAPE 0.1347" in open_ones[0]


def test_better_goes_live_broken_never_does_no_request_fails(running: Running) -> None:
    first = running.live()["commit"]
    with crowd(running) as people:
        better = running.slipway("demo", "merge")
        after_better = running.live()["commit"]
        running.slipway("demo", "merge")  # the worse one: whether it goes live is the gate's to say
        before_broken = running.live()["commit"]
        broken = running.slipway("demo", "merge")
        after_broken = running.live()["commit"]

    assert "#2 Follow the growth: merged as" in better
    page = httpx.get(better.split("GitHub would show: ")[1].split()[0], trust_env=False).text
    assert "slipway/encyclopedia-visits" in page and "slipway-bot" in page
    assert "SMAPE 0.1347   (live before: 0.3421)" in better
    assert "is live now" in better
    assert "reused, 0." in better and "model trained in check 2" in better
    assert after_better != first
    assert "rejected" in broken
    assert "train_data has no column Article" in broken
    assert "stays live" in broken
    assert after_broken == before_broken
    assert people.wrong == []
    assert {first, after_better} <= people.commits


def test_merging_one_again_says_what_became_of_it(running: Running) -> None:
    running.slipway("demo", "merge", "--number", "2")

    assert "#2 Follow the growth: was merged already as" in running.slipway("demo", "merge", "--number", "2")


def test_the_list_has_each_pull_request_and_its_end(running: Running) -> None:
    running.slipway("demo", "merge", "--number", "4")

    lines = running.slipway("demo", "list").splitlines()
    broken = next(line for line in lines if "#4" in line)
    assert "rejected" in broken
    assert "Article" in broken


def test_a_queued_one_is_merged_when_its_group_has_passed(running: Running) -> None:
    """The next one is a better one: its group is checked because a webhook came, and is merged for that."""
    while True:
        listed = [line for line in running.slipway("demo", "list").splitlines() if " open " in line]
        if "better" in listed[0]:
            break
        running.slipway("demo", "merge")
    number = listed[0].split()[0]
    done = running.slipway("demo", "queue")
    assert f"{number} " in done and "queued as" in done and "gh-readonly-queue/main/pr-" in done
    assert f"{number}: merged as" in done
    assert "model trained in check" in done
    releases = running.get("/releases?limit=1000").json()["releases"]
    merged = next(one["commit"] for one in releases if one["trigger"] == "merge")
    of_commit = [one for one in releases if one["commit"] == merged]
    assert [one["trigger"] for one in of_commit] == ["merge", "check"]


def refusal(environment: dict[str, Any], *words: str) -> str:
    """The one line that a command says when it cannot do what it should."""
    command = [*SLIPWAY, "demo", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_number_that_nobody_opened_is_one_clear_line(running: Running) -> None:
    said = refusal(running.environment, "merge", "--number", "99")

    assert said == "slipway: demo/encyclopedia-visits has no pull request 99\n"


def test_without_a_demo_there_is_one_clear_line(tmp_path: Path) -> None:
    said = refusal({**os.environ, "SLIPWAY_HOME": str(tmp_path)}, "list")

    assert said.startswith(f"slipway: no demo has run in {tmp_path}: start it by `make up`")
