"""The merge groups of a branch, listed by real git among branches that are none."""

import time
from pathlib import Path

import pytest

from common.errors import UnavailableError
from db.merge_groups import ExaminedGroup, MergeGroup
from ml.settings import ModelConfig
from ml.sources import git_merge_groups
from ml.sources.git_merge_groups import examine_groups, list_merge_groups
from tests.harness.repositories import ModelRepository

BASE = "b" * 40
QUEUE = "gh-readonly-queue/main"
NONE = [
    f"{QUEUE}/pr-0-{BASE}",
    f"{QUEUE}/pr-7-{BASE[:39]}",
    f"{QUEUE}/pr-7-{BASE.upper()}",
    f"{QUEUE}/pr-{'9' * 30}-{BASE}",
    f"{QUEUE}/pr-٣-{BASE}",
    f"{QUEUE}/pr--7-{BASE}",
    f"{QUEUE}/pr-7-{BASE}-$(touch${{IFS}}x)",
    f"{QUEUE}/next/pr-7-{BASE}",
    f"gh-readonly-queue/main2/pr-7-{BASE}",
    f"x/refs/heads/{QUEUE}/pr-7-{BASE}",
    "gh-readonly-queue/" + "/".join(["x" * 200] * 5),
]


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    made = ModelRepository(tmp_path / "model")
    made.write({"main.py": "one\n"}).commit("First")
    return made


def list_groups(repository: ModelRepository, branch: str = "main") -> list[MergeGroup]:
    return list(list_merge_groups(ModelConfig("m", "acme/m", repository.url, branch)).groups)


def test_the_groups_of_the_branch_are_listed(repository: ModelRepository) -> None:
    repository.git("branch", f"{QUEUE}/pr-12-{BASE}")
    repository.git("branch", f"gh-readonly-queue/release/1.0/pr-3-{BASE}")
    first = repository.head
    second = repository.write({"main.py": "two\n"}).commit("Second")
    repository.git("branch", f"{QUEUE}/pr-7-{BASE}")

    other = f"gh-readonly-queue/release/1.0/pr-3-{BASE}"
    assert list_groups(repository) == [
        MergeGroup(f"{QUEUE}/pr-7-{BASE}", second, 7),
        MergeGroup(f"{QUEUE}/pr-12-{BASE}", first, 12),
    ]
    assert list_groups(repository, "release/1.0") == [MergeGroup(other, first, 3)]


def test_a_repository_without_a_queue_has_none(repository: ModelRepository) -> None:
    assert list_groups(repository) == []


@pytest.mark.parametrize("name", NONE)
def test_another_branch_is_no_group(repository: ModelRepository, name: str) -> None:
    repository.git("branch", name)
    assert list_groups(repository) == []


def test_a_queue_full_of_branches_is_bounded(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_merge_groups, "MAX_GROUPS", 3)
    for number in range(1, 6):
        repository.git("branch", f"{QUEUE}/pr-{number}-{BASE}")
    assert [group.number for group in list_groups(repository)] == [1, 2, 3]


def test_thousands_of_branches_are_bounded_too(repository: ModelRepository) -> None:
    names = "".join(
        f"create refs/heads/{QUEUE}/pr-{number}-{BASE} {repository.head}\n" for number in range(1, 5001)
    )
    repository.feed(names, "update-ref", "--stdin")
    assert [group.number for group in list_groups(repository)] == list(range(1, 101))


def test_a_server_that_is_away_is_no_empty_queue(tmp_path: Path) -> None:
    gone = ModelConfig("m", "acme/m", (tmp_path / "gone").as_uri(), "main")
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        list_merge_groups(gone)


@pytest.fixture
def queue(repository: ModelRepository) -> "Queue":
    return Queue(repository)


class Queue:
    """A merge queue with two pull requests, stacked as GitHub does it in this way."""

    def __init__(self, repository: ModelRepository) -> None:
        self.repository = repository
        self.heads = {
            number: repository.propose(number, {f"{number}.py": f"{number}\n"}) for number in (7, 8)
        }

    def add(self, numbers: list[int], how: str = "merge") -> list[str]:
        return self.repository.queue(numbers, how)

    def examine(self, folder: Path, heads: dict[int, str] | None = None) -> list[ExaminedGroup]:
        model = ModelConfig("m", "acme/m", self.repository.url, "main")
        listing = list_merge_groups(model)
        return examine_groups(
            model,
            listing,
            listing.groups,
            self.heads if heads is None else heads,
            clone=folder / "m.git",
        )


@pytest.mark.parametrize("how", ["merge", "squash", "rebase"])
def test_a_group_holds_what_is_queued_before_it(queue: Queue, tmp_path: Path, how: str) -> None:
    tip = queue.repository.head
    queue.add([8, 7], how)
    seven, eight = queue.examine(tmp_path)
    assert seven.members == ((8, queue.heads[8]), (7, queue.heads[7]))
    assert eight.members == ((8, queue.heads[8]),)
    assert (seven.base, seven.is_on_tip) == (tip, True)
    assert seven.tree == queue.repository.git("rev-parse", f"{seven.group.commit}^{{tree}}")


def test_other_files_are_proven_to_be_of_no_pull_request(queue: Queue, tmp_path: Path) -> None:
    hidden = queue.repository.propose(6, {"6.py": "a fork's\n"})
    queue.add([6, 7])
    queue.repository.git("branch", "-D", *queue.repository.list_queue("pr-6-*"))
    (seven,) = queue.examine(tmp_path)
    assert seven.members is None
    assert seven.is_on_tip
    assert seven.is_recent
    assert hidden not in str(seven)


def test_a_head_pushed_since_is_not_the_queued_one(queue: Queue, tmp_path: Path) -> None:
    queue.add([7])
    (seven,) = queue.examine(tmp_path, {7: queue.heads[8]})
    assert seven.members is None
    (seven,) = queue.examine(tmp_path, {7: "0" * 40})
    assert seven.members is None


def test_a_branch_that_moved_leaves_its_groups_behind(queue: Queue, tmp_path: Path) -> None:
    queue.add([7])
    queue.repository.write({"main.py": "moved\n"}).commit("Pushed past the queue")
    (seven,) = queue.examine(tmp_path)
    assert (seven.is_on_tip, seven.members) == (False, None)


def test_merged_groups_and_unknown_ones_are_left_out(queue: Queue, tmp_path: Path) -> None:
    queue.add([7, 8])
    assert queue.examine(tmp_path, {8: queue.heads[8]}) == []
    queue.repository.git("merge", "--quiet", "--ff-only", *queue.repository.list_queue("pr-7-*"))
    (eight,) = queue.examine(tmp_path)
    assert eight.members == ((8, queue.heads[8]),)


def test_an_old_group_is_not_recent(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_merge_groups, "RECENT_SECONDS", 0.0)
    queue.add([7])
    (seven,) = queue.examine(tmp_path)
    assert not seven.is_recent


def test_a_group_of_a_clock_ahead_of_ours_is_recent(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add([7])
    monkeypatch.setattr(time, "time", lambda now=time.time: now() - 30)
    (seven,) = queue.examine(tmp_path)
    assert seven.is_recent
