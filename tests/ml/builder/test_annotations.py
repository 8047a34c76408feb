"""Lines of the repository that a log's tracebacks name: real ones are found, and no log names others."""

import subprocess
import sys
from pathlib import Path

import pytest

from db.check_runs import Annotation
from ml.builder.annotations import MAX_FILE_BYTES, find_annotations

MAIN = 'def train(data):\n    return data["Page"]\n\n\ntrain({})\n'


@pytest.fixture
def release(tmp_path: Path) -> Path:
    source = tmp_path / "releases" / "7" / "source"
    (source / "shop").mkdir(parents=True)
    (source / "main.py").write_text(MAIN)
    (source / "shop" / "basket.py").write_text("x = 1\ny = 2\n")
    (source / "away.py").symlink_to("/etc/passwd")
    (source / "linked").symlink_to(tmp_path)
    (tmp_path / "outside.py").write_text("x\n" * 9)
    return source.parent


def find(release: Path, *lines: str) -> list[tuple[str, int, str]]:
    found = find_annotations(lines, release, release / "source")
    return [(one.path, one.line, one.message) for one in found]


def test_a_real_traceback_leads_to_its_line(release: Path) -> None:
    command = [sys.executable, "main.py"]
    done = subprocess.run(command, cwd=release / "source", capture_output=True, text=True, check=False)
    assert find(release, *done.stderr.splitlines()) == [("main.py", 2, "KeyError: 'Page'")]

    copy = release / "tmp-copy"
    copy.mkdir()
    (copy / "main.py").write_text(MAIN)
    command = [sys.executable, str(copy / "main.py")]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert find(release, *done.stderr.splitlines()) == [("main.py", 2, "KeyError: 'Page'")]


def test_the_deepest_line_in_the_repository_counts(release: Path) -> None:
    assert find(
        release,
        "Traceback (most recent call last):",
        f'  File "{release}/source/main.py", line 1, in train',
        "    def train(data):",
        f'  File "{release}/source/shop/basket.py", line 2, in fill',
        '  File "/venv/lib/python3.12/site-packages/pandas/main.py", line 1, in get',
        "    raise KeyError",
        "KeyError: 'Page'",
        "",
        f'  File "{release}/source/main.py", line 3',
        "SyntaxError: invalid syntax",
    ) == [("shop/basket.py", 2, "KeyError: 'Page'"), ("main.py", 3, "SyntaxError: invalid syntax")]


def test_a_home_behind_a_link_is_the_same(release: Path, tmp_path: Path) -> None:
    link = tmp_path / "home"
    link.symlink_to(release.parent)
    lines = [f'  File "{link}/7/source/main.py", line 2, in train', "ValueError: x"]
    (found,) = find_annotations(lines, link / "7", link / "7" / "source")
    assert (found.path, found.line) == ("main.py", 2)


def test_a_failed_test_leads_to_its_line(release: Path) -> None:
    lines = ("shop/basket.py:1: in test_it", "shop/basket.py:2: AssertionError", "main.py:99: ValueError")
    assert find(release, *lines) == [("shop/basket.py", 2, "AssertionError")]


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "{release}/../../outside.py",
        "{release}/source/../../../outside.py",
        "../../../outside.py",
        "{release}/source/away.py",
        "{release}/source/linked/outside.py",
        "{release}/source/shop",
        "{release}/source/gone.py",
        "{release}/source/gone/main.py",
        "{release}/source",
        "{release}",
        "{release}/source/main.py\x00",
        "/",
        ".",
        "main.py\x1b[31m",
        "a/" * 2000 + "main.py",
        "\ud800",
        "<string>",
        "/site-packages/main.py",
    ],
)
def test_no_other_file_is_named(name: str, release: Path) -> None:
    path = name.replace("{release}", str(release))
    assert find(release, f'  File "{path}", line 1, in x', "ValueError: x") == []


@pytest.mark.parametrize("line", ["0", "6", "9999999", "-1", "99999999999999999999", "1e3", "²"])
def test_no_line_is_named_that_the_file_has_not(line: str, release: Path) -> None:
    assert find(release, f'  File "{release}/source/main.py", line {line}, in x', "ValueError: x") == []
    assert find(release, f"main.py:{line}: ValueError") == []


def test_a_flood_is_bounded(release: Path) -> None:
    frames = [
        f'  File "{release}/source/shop/basket.py", line 1, in x\nE{number}: x' for number in range(2000)
    ]
    lines = "\n".join(frames).splitlines()
    found = find(release, *lines, *['  File "' * 5000, "a" * 1_000_000 + ".py:1: x", '"' * 1_000_000])
    assert len(found) == 50
    assert max(len(message) for *_, message in found) <= 501


def test_equal_ones_count_once_and_messages_can_be_stored(release: Path) -> None:
    lines = [f'  File "{release}/source/main.py", line 1, in x', "E: \x00\u202e\ud800" + "x" * 9000] * 3
    (only,) = find_annotations(lines, release, release / "source")
    assert isinstance(only, Annotation)
    assert only.message.isprintable()


def test_a_large_file_is_not_read(release: Path) -> None:
    (release / "source" / "large.py").write_bytes(b"\n" * (MAX_FILE_BYTES + 1))
    assert find(release, f'  File "{release}/source/large.py", line 1, in x', "ValueError: x") == []
