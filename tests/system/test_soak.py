"""An hour of everything at once: whatever happens, no answer is wrong and no merge is lost.

`make soak` takes SOAK_SECONDS of it (3600). What happens is chosen by SOAK_SEED, which is printed.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from resources.demo.github import FakeGitHub, create_server
from tests.harness import plain_http
from tests.harness.appliance import Running
from tests.harness.processes import command_line, mentioning, tree
from tests.harness.waiting import wait_until
from tests.ml.conftest import shared_home  # noqa: F401
from tests.system.asking import Clients
from tests.system.upstream import MODEL, NAME, Kind, Merge, Upstream

SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
SEED = int(os.environ.get("SOAK_SEED", "20261128"))
LONGEST_PAUSE = 8.0  # seconds between two things that happen
ASKED_AGAIN = 5  # releases, at the end

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 1800)]


class Trouble:
    """What happens to an appliance, one thing after the other, as `chance` has it."""

    def __init__(self, running: Running, upstream: Upstream, clients: Clients, seed: int) -> None:
        self.running, self.upstream, self.clients = running, upstream, clients
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        often: dict[Callable[[], str], int] = {
            self.merge: 8,
            self.merge_an_older_one: 2,
            self.merge_two_in_one_second: 2,
            self.kill_a_worker: 6,
            self.kill_a_builder: 1,
            self.kill_a_service: 3,
            self.start_all_again: 1,
            self.roll_back: 4,
            self.deploy_by_hand: 3,
        }
        self.each = [what for what, times in often.items() for _ in range(times)]

    def go_on(self) -> str:
        """One thing, and a pause after it in which it may not have come to its end."""
        what = self.chance.choice(self.each)()
        self.done[what] += 1
        time.sleep(self.chance.uniform(0, LONGEST_PAUSE))
        return what

    def merge(self) -> str:
        kinds: list[Kind] = ["good", "good", "good", "worse", "untrainable", "unstartable"]
        kind = self.chance.choice(kinds)
        self.upstream.show(self.upstream.merge(kind))
        self.running.checkout()
        return f"merge a {kind} one"

    def merge_an_older_one(self) -> str:
        """The newer of two is known, and perhaps live, when the older one is listed."""
        older, newer = self.upstream.merge("older"), self.upstream.merge("good")
        self.upstream.show(newer)
        self.running.checkout()
        time.sleep(self.chance.choice((1, 10)))
        self.upstream.show_late(older)
        self.running.checkout()
        return "merge an older one late"

    def merge_two_in_one_second(self) -> str:
        """The history alone says which is newer: not their times, nor their numbers."""
        numbers = [self.upstream.open(), self.upstream.open()]
        self.chance.shuffle(numbers)
        first, second = (self.upstream.merge(*each) for each in zip(("older", "good"), numbers, strict=True))
        self.upstream.show(first, second)
        self.running.checkout()
        return "merge two in one second"

    def kill_a_worker(self) -> str:
        """One of two that are ready."""
        wait_until(lambda: ready_workers(self.running) >= 2, 120, "two workers are ready")
        self.kill(workers(self.running))
        return "kill a worker"

    def kill_a_builder(self) -> str:
        found = [p for p in tree(self.running.process.pid) if "ml.builder.pipeline" in command_line(p)]
        self.kill(found)
        return "kill a builder" if found else "kill no builder"

    def kill(self, processes: list[psutil.Process]) -> None:
        with suppress(psutil.NoSuchProcess, IndexError):
            self.chance.choice(processes).kill()

    def kill_a_service(self) -> str:
        module = self.chance.choice(("ml", "ml.controller", "vcs", "postgres"))
        killed = self.running.service(module)
        assert killed
        if module == "ml":
            with self.clients.upset():
                killed.kill()
                self.until_well(killed, module)
        else:
            killed.kill()
            self.until_well(killed, module)
        return f"kill {module}"

    def until_well(self, killed: psutil.Process, module: str) -> None:
        wait_until(lambda: self.running.service(module) not in (None, killed), 90, f"{module} runs again")
        wait_until(lambda: is_well(self.running), 120, "the appliance is well again")

    def start_all_again(self) -> str:
        number = self.chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
        with self.clients.upset():
            self.running.end(number)
            self.running.start()
            wait_until(lambda: is_well(self.running), 120, "the appliance is well again")
        return f"start all again after {number.name}"

    def roll_back(self) -> str:
        answer = decide(self.running, f"/models/{MODEL}/rollback")
        return f"roll back: {answer.status_code}"

    def deploy_by_hand(self) -> str:
        known = [release for release in releases(self.running) if release["status"] in ("deployed", "passed")]
        answer = decide(self.running, f"/releases/{self.chance.choice(known)['id']}/deploy")
        return f"deploy by hand: {answer.status_code}"


def decide(running: Running, path: str) -> httpx.Response:
    token = (running.home / "token").read_text().strip()
    address = f"http://127.0.0.1:{running.serve}{path}"
    answer = plain_http.post(
        address, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
    )
    assert answer.status_code in (202, 409), answer.text
    return answer


def releases(running: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.get("/releases?limit=1000").json()["releases"]
    return found


def deployments(running: Running) -> list[dict[str, Any]]:
    """The oldest first."""
    answer = running.get(f"/models/{MODEL}/deployments?limit=1000").json()
    found: list[dict[str, Any]] = answer["deployments"]
    return found[::-1]


def workers(running: Running) -> list[psutil.Process]:
    return [
        process
        for process in mentioning(running.home / "releases")
        if "serve" in command_line(process) and "--pass" not in command_line(process)
    ]


def ready_workers(running: Running) -> float:
    with suppress(httpx.TransportError):
        for line in running.get("/metrics").text.splitlines():
            if line.startswith(f'slipway_workers{{model="{MODEL}"}}'):
                return float(line.split()[-1])
    return 0


def is_well(running: Running) -> bool:
    with suppress(httpx.TransportError):
        return running.healthy() and running.get("/ready").is_success
    return False


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "repository")


@pytest.fixture
def github(upstream: Upstream) -> Iterator[FakeGitHub]:
    with create_server(upstream.pulls, token="soak") as running:
        yield running


@pytest.fixture
def running(tmp_path: Path, shared_home: Path, upstream: Upstream, github: FakeGitHub) -> Iterator[Running]:  # noqa: F811
    assert shared_home == tmp_path / "home"
    made = Running(
        tmp_path,
        SLIPWAY_REPOSITORY=NAME,
        SLIPWAY_CLONE_URL=upstream.repository.url,
        SLIPWAY_WORKERS="2",
        GITHUB_API_URL=github.url,
        GITHUB_TOKEN="soak",
        NO_PROXY="127.0.0.1",
    )
    yield made
    made.process.terminate()
    made.process.wait()


def test_every_answer_is_what_its_release_gives_alone(
    running: Running, upstream: Upstream, show: Callable[[str], None]
) -> None:
    show(f"SOAK_SECONDS={SECONDS:g} SOAK_SEED={SEED}")
    go_live(running, upstream)
    clients = Clients(running, upstream, SEED)
    trouble = Trouble(running, upstream, clients, SEED)
    began = time.monotonic()
    try:
        with clients:
            while (at := time.monotonic() - began) < SECONDS:
                show(f"{at:7.1f} s  {trouble.go_on()}")
            last = go_live(running, upstream)
            wait_until(lambda: last in clients.answers.releases, 60, "clients get the last one")
            settle(running)
    finally:
        show(tell(running, clients, trouble))

    assert clients.answers.wrong == []
    assert clients.answers.failed == []
    no_merge_was_lost(upstream, releases(running))
    nothing_came_back(clients, upstream, releases(running), deployments(running))
    the_same_alone(running, clients, trouble.chance)
    assert is_well(running)
    running.end()


def tell(running: Running, clients: Clients, trouble: Trouble) -> str:
    """What was counted."""
    answers = clients.answers
    lines = [f"{times:6}  {what}" for what, times in sorted(trouble.done.items())]
    lines += [f"{times:6}  {form}: {status}" for (form, status), times in sorted(answers.calls.items())]
    lines.append(f"{answers.rows} rows predicted by {len(answers.releases)} releases")
    lines += [f"{len(answers.wrong)} answers wrong", *answers.wrong[:5]]
    lines += [f"{len(answers.failed)} failed for no reason", *answers.failed[:5]]
    return "\n".join(lines)


def go_live(running: Running, upstream: Upstream) -> int:
    """Merge a good one, and see it live."""
    merge = upstream.merge("good")
    upstream.show(merge)
    running.checkout()
    wait_until(lambda: running.live().get("commit") == merge.commit, 180, f"#{merge.number} is live")
    number: int = running.live()["release"]
    return number


def settle(running: Running) -> None:
    def is_settled() -> bool:
        under_way = {"queued", "building"} & {release["status"] for release in releases(running)}
        return not under_way and deployments(running)[-1]["state"] == "live"

    wait_until(is_settled, 300, "nothing is under way")


def no_merge_was_lost(upstream: Upstream, known: list[dict[str, Any]]) -> None:
    """Each has the end that is its own, or a newer one came before that."""
    found = {release["commit"]: release for release in known if release["trigger"] == "merge"}
    own: dict[Kind, set[str]] = {
        "good": {"deployed", "passed"},  # a rollback may have stopped it at `passed`
        "worse": {"rejected"},
        "untrainable": {"rejected"},
        "unstartable": {"deployed", "passed", "rejected"},
        "older": set(),
    }
    for merge in upstream.merges.values():
        release = found.get(merge.commit)
        if release is None:
            assert merge.kind == "older", f"{merge} is lost"
        else:
            assert release["status"] in own[merge.kind] | {"superseded"}, (merge, release)
    assert len(found) == len(known)


def nothing_came_back(
    clients: Clients,
    upstream: Upstream,
    known: list[dict[str, Any]],
    decided: list[dict[str, Any]],
) -> None:
    """Each client met releases in the order of the decisions; the gate's are in the order of merges."""
    merge_of: dict[int, Merge] = {release["id"]: upstream.merges[release["commit"]] for release in known}
    place = {commit: number for number, commit in enumerate(upstream.merges)}
    by_gate = [place[merge_of[one["release"]].commit] for one in decided if one["cause"] == "gate"]
    assert by_gate == sorted(by_gate)
    assert {merge_of[one["release"]].kind for one in decided if one["live_at"]} == {"good"}
    for order in clients.orders:
        decisions = iter([one["release"] for one in decided])
        assert all(release in decisions for release in order), order
    commits = {release["id"]: release["commit"] for release in known}
    assert clients.answers.releases.items() <= commits.items()


def the_same_alone(running: Running, clients: Clients, chance: random.Random) -> None:
    """Of releases that can still be deployed: what they gave is given again when nobody else asks."""
    kept = {release: list(answers) for release, answers in clients.answers.lately.items()}
    asked = 0
    for number in chance.sample(sorted(kept), len(kept)):
        if asked == ASKED_AGAIN or decide(running, f"/releases/{number}/deploy").status_code != 202:
            continue
        wait_until(lambda number=number: running.live().get("release") == number, 120, f"{number} is live")
        address = f"http://127.0.0.1:{running.serve}/predict"
        for row, got in kept[number]:
            assert plain_http.post(address, json=row, timeout=30).json()["prediction"] == got
        asked += 1
    assert asked > 1
