"""Pull requests are merged by git and shown as GitHub would show them, after any crash and in any order."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.demo.demo_github import DemoPullRequests
from resources.demo.pull_requests import PREPARED_COUNT, make_proposal


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo's folder after its first start."""
    home = tmp_path_factory.mktemp("fresh")
    DemoPullRequests(home)
    return home


@pytest.fixture
def home(fresh: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fresh, tmp_path / "demo")


def first_parents(desk: DemoPullRequests) -> list[str]:
    return desk.repository.run_git(
        desk.repository.path, "log", "--first-parent", "--format=%s", "main"
    ).splitlines()


def main_py(desk: DemoPullRequests) -> str:
    return desk.repository.run_git(desk.repository.path, "show", "main:main.py") + "\n"


def test_the_first_model_is_merged_and_prepared_ones_are_open(home: Path) -> None:
    desk = DemoPullRequests(home)

    first, *prepared = desk.list_pulls()
    assert first["merged_at"] == "2025-04-08T12:00:00Z"
    assert [pull["kind"] for pull in prepared] == ["better", "worse", "broken"]
    assert not any(pull["merged_at"] for pull in prepared)
    parents = desk.repository.run_git(
        desk.repository.path, "rev-list", "--parents", "-n1", first["merge_commit_sha"]
    )
    assert len(parents.split()) == 3


def test_the_prepared_history_is_the_same_everywhere(home: Path, tmp_path: Path) -> None:
    desk, other = DemoPullRequests(home), DemoPullRequests(tmp_path / "other")

    assert [desk.pulls.get(number) for number in range(1, PREPARED_COUNT + 1)] == [
        other.pulls.get(number) for number in range(1, PREPARED_COUNT + 1)
    ]


def test_a_merge_is_a_merge_commit_and_github_says_so(home: Path) -> None:
    desk = DemoPullRequests(home)
    before = desk.repository.find_head("main")
    began = datetime.now(UTC).replace(microsecond=0)

    merged = desk.merge()

    pull = desk.pulls.get(2)
    assert (merged["number"], merged["kind"], merged["already"]) == (2, "better", False)
    assert pull.state == "closed"
    assert pull.merge_commit_sha == merged["merge_commit_sha"] == desk.repository.find_head("main")
    assert pull.merged_at == pull.closed_at == pull.updated_at
    assert datetime.fromisoformat(str(pull.merged_at)) >= began
    parents = desk.repository.run_git(desk.repository.path, "rev-list", "--parents", "-n1", "main").split()[
        1:
    ]
    assert parents == [before, pull.head_sha] == [pull.base_sha, desk.repository.find_head(pull.head)]
    assert first_parents(desk)[0] == "Merge pull request #2 from demo/follow-the-growth"
    assert main_py(desk) == make_proposal(2).render_main()


def test_merging_again_changes_nothing(home: Path) -> None:
    desk = DemoPullRequests(home)
    once = desk.merge(3)

    twice = desk.merge(3)

    assert twice == {**once, "already": True}
    assert len(first_parents(desk)) == 3


def test_a_number_that_nobody_opened_is_an_error(home: Path) -> None:
    with pytest.raises(ValueError, match="has no pull request 99"):
        DemoPullRequests(home).merge(99)


def test_any_order_merges_and_what_was_broken_is_taken_back(home: Path) -> None:
    desk = DemoPullRequests(home)

    for number in (4, 2, 3):
        desk.merge(number)
        assert main_py(desk) == make_proposal(number).render_main()


def test_it_never_runs_dry(home: Path) -> None:
    desk = DemoPullRequests(home)

    merged = [desk.merge() for _ in range(8)]

    assert [one["number"] for one in merged] == list(range(2, 10))
    assert [one["kind"] for one in merged] == ["better", "worse", "broken"] * 2 + ["better", "worse"]
    # in the order of their dates, which have no fractions
    assert len({one["merged_at"] for one in merged}) == 8
    assert [pull.number for pull in desk.pulls.list_pulls("open")] == [10]


def test_a_restart_shows_what_was_shown(home: Path) -> None:
    desk = DemoPullRequests(home)
    for _ in range(5):
        desk.merge()

    again = DemoPullRequests(home)

    assert again.pulls.list_pulls() == desk.pulls.list_pulls()


def test_killed_before_the_push_of_main_it_is_merged_next_time(home: Path) -> None:
    desk = DemoPullRequests(home)
    with desk.repository.lock_exclusively():  # as far as a merge gets before it moves main
        head = desk.repository.push_proposal(make_proposal(2), desk.opened_at(2))
        shutil.copytree(home / "encyclopedia-visits.git", home / "encyclopedia-visits.work")

    again = DemoPullRequests(home)

    assert not again.pulls.get(2).merged_at
    assert again.merge()["number"] == 2
    assert again.pulls.get(2).head_sha == head
    assert not (home / "encyclopedia-visits.work").exists()


def test_killed_after_the_push_of_main_it_is_merged(home: Path) -> None:
    desk = DemoPullRequests(home)
    with desk.repository.lock_exclusively():  # the last step of a merge that nobody was told of
        done = desk.repository.merge_proposal(make_proposal(2), desk.opened_at(2), datetime.now(UTC))

    assert desk.merge(2)["merge_commit_sha"] == done.commit
    assert DemoPullRequests(home).pulls.get(2).merge_commit_sha == done.commit
    assert DemoPullRequests(home).merge()["number"] == 3


def test_killed_in_the_first_start_it_starts_anew(home: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(home / "encyclopedia-visits.git" / "refs", torn / "encyclopedia-visits.new" / "refs")

    assert DemoPullRequests(torn).repository.find_head("main") == DemoPullRequests(home).repository.find_head(
        "main"
    )


def test_git_settings_of_whoever_runs_it_do_not_matter(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[commit]\n gpgsign = true\n[core]\n autocrlf = true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody Else")

    assert DemoPullRequests(tmp_path / "other").repository.find_head("main") == DemoPullRequests(
        home
    ).repository.find_head("main")
