"""`slipway init`: a repository of a model that is whole, or nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.check.conftest import Slipway, git, is_refused

WRITTEN = {
    ".gitignore",
    "README.md",
    "data",
    "main.py",
    "pytest.ini",
    "requirements-test.txt",
    "slipway.toml",
    "tests",
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_is_a_git_repository_with_nothing_committed(slipway: Slipway, tmp_path: Path) -> None:
    done = slipway("init", "rentals")

    assert done.returncode == 0
    assert done.stdout == "rentals is written. Next: slipway check rentals\n"
    assert names(tmp_path / "rentals") == WRITTEN | {".git"}
    shown = git(tmp_path / "rentals", "status", "--branch", "--short").splitlines()
    assert shown[0] == "## No commits yet on main"
    assert {line.removeprefix("?? ").rstrip("/") for line in shown[1:]} == WRITTEN


def test_within_a_repository_it_begins_none(slipway: Slipway, tmp_path: Path) -> None:
    git(tmp_path, "init")

    assert slipway("init", "models/rentals").returncode == 0
    assert names(tmp_path / "models/rentals") == WRITTEN


def test_an_empty_clone_is_filled(slipway: Slipway, tmp_path: Path) -> None:
    """The folder stays the same one: a shell is in it."""
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init")
    config = (tmp_path / "empty/.git/config").read_text()
    number = (tmp_path / "empty").stat().st_ino

    assert slipway("init", ".", cwd=tmp_path / "empty").returncode == 0
    assert names(tmp_path / "empty") == WRITTEN | {".git"}
    assert (tmp_path / "empty/.git/config").read_text() == config
    assert (tmp_path / "empty").stat().st_ino == number


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file of somebody's, which is as it was at the end."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "main.py").write_text("mine")
    yield folder
    assert names(tmp_path) == {"mine"}
    assert [path.read_text() for path in folder.iterdir()] == ["mine"]


def test_nothing_is_overwritten(slipway: Slipway, mine: Path) -> None:
    is_refused(slipway("init", mine), "is there already: name a new folder")
    is_refused(slipway("init", mine / "main.py"), "is there already: name a new folder")
    is_refused(slipway("init", mine / "main.py/below"), "cannot be written")
    is_refused(slipway("init", ".."), ".. is there already")
    is_refused(slipway("init", "nowhere/.."), "nowhere/.. is there already")
    is_refused(slipway("init", ""), "the new folder has no name")
    is_refused(slipway("init", "a" * 300), "cannot be written: File name too long")
    assert slipway("init", "-x").returncode == 2


def test_a_link_is_not_followed(slipway: Slipway, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to("theirs")
    (tmp_path / "dangling").symlink_to("nowhere")

    is_refused(slipway("init", "link"), "link is there already")
    is_refused(slipway("init", "dangling"), "dangling is there already")
    assert names(tmp_path) == {"theirs", "link", "dangling"}
    assert names(tmp_path / "theirs") == set()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b", "'a b'"),
        ("line\nend", "'line\nend'"),
        ("$(reboot)", "'$(reboot)'"),
        ("deep/down", "deep/down"),
    ],
)
def test_any_name_is_written_as_it_is(name: str, shown: str, slipway: Slipway, tmp_path: Path) -> None:
    done = slipway("init", name)

    assert done.returncode == 0
    assert done.stdout.endswith(f"Next: slipway check {shown}\n")
    assert names(tmp_path / name) == WRITTEN | {".git"}


def test_a_name_like_an_option_is_written_after_two_dashes(slipway: Slipway, tmp_path: Path) -> None:
    assert slipway("init", "--", "-x").stdout == "-x is written. Next: slipway check ./-x\n"
    assert names(tmp_path / "-x") == WRITTEN | {".git"}


def test_nothing_is_left_of_half_a_repository(slipway: Slipway, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to("/bin/sh")
    (tmp_path / "empty").mkdir()

    for name in ("new", "empty"):
        is_refused(slipway("init", name, PATH=str(tmp_path / "bin")), "git cannot begin a repository")
    assert names(tmp_path) == {"bin", "empty"}
    assert names(tmp_path / "empty") == set()


def test_git_of_the_caller_is_not_taken(slipway: Slipway, tmp_path: Path) -> None:
    """A hook of git calls programs with its own GIT_DIR."""
    git(tmp_path, "init", "other")
    before = (tmp_path / "other/.git/config").read_text()

    assert slipway("init", "new", GIT_DIR=str(tmp_path / "other/.git")).returncode == 0
    assert names(tmp_path / "new") == WRITTEN | {".git"}
    assert (tmp_path / "other/.git/config").read_text() == before
