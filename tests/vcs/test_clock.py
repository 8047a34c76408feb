"""The machine's clock is set while vcs runs: it syncs, waits and tries again as if it had not been."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from resources.demo.github import FakeGitHub, FakePullRequests, GitHubFault
from tests.harness.faults import Clock
from tests.harness.waiting import wait_until
from tests.vcs.test_service import started, variables  # noqa: F401 (a fixture)

HOUR = 3600
TICK = 2  # seconds from one sync to the next


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "time")


@pytest.fixture
def client(variables: dict[str, str], clock: Clock) -> Iterator[httpx.Client]:  # noqa: F811
    """Of a vcs that syncs by itself, with a clock of its own."""
    told = variables | clock.environment | {"SLIPWAY_SYNC_SECONDS": str(TICK)}
    with started(told) as (_, made):
        yield made


def is_synced(client: httpx.Client, number: int) -> bool:
    found = client.get("/pull-requests?state=all").json()["pull_requests"]
    return any(pull["number"] == number for pull in found)


@pytest.mark.parametrize("hours", [1, -1])
def test_syncs_go_on_when_the_clock_is_set(
    client: httpx.Client, clock: Clock, pulls: FakePullRequests, hours: int
) -> None:
    for time_of_day in (0, hours * HOUR, 0):
        clock.set(time_of_day)
        for _ in range(2):  # the first may be under way while the clock is set
            number = pulls.open("Meanwhile", head="a")
            wait_until(lambda number=number: is_synced(client, number), 30, "the next sync has it")


@pytest.mark.parametrize("hours", [1, -1])
def test_a_pause_ends_when_the_clock_is_set(
    client: httpx.Client, clock: Clock, github: FakeGitHub, pulls: FakePullRequests, hours: int
) -> None:
    """GitHub's limit lasts as long as GitHub says, by any clock."""
    github.faults.arm(GitHubFault("rate-limit", times=3, wait=8))
    number = pulls.open("Meanwhile", head="a")
    wait_until(lambda: "limit" in client.get("/health").text, 30, "vcs waits for GitHub")
    clock.set(hours * HOUR)
    wait_until(lambda: is_synced(client, number), 120, "the sync after the pause has it")
