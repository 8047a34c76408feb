"""Requirement files as editors and shells of other people's machines write them."""

from collections.abc import Callable

import pytest

from common.errors import RejectedError
from ml.environments import environments
from tests.harness.packages import build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.ml.environments.conftest import Installer

PYPROJECT = '[project]\nname = "project"\nversion = "1"\ndependencies = ["six"]\n'
GOOD: dict[str, dict[str, str | bytes]] = {
    "utf-8 with a mark": {"requirements.txt": "six\n".encode("utf-8-sig")},
    "utf-16 of PowerShell": {"requirements.txt": "six\r\n".encode("utf-16")},
    "utf-16, big end first": {"requirements.txt": b"\xfe\xff" + "six\n".encode("utf-16-be")},
    "lines of Windows": {"requirements.txt": "# ours\r\nsix\r\n"},
    "a mark in TOML": {"pyproject.toml": PYPROJECT.encode("utf-8-sig")},
    "a version with a comment": {"requirements.txt": "six\n", ".python-version": "# ours\n\n>=3.10  # all\n"},
    "a version in utf-16": {"requirements.txt": "six\n", ".python-version": ">=3.10\r\n".encode("utf-16")},
    "other texts": {"requirements.txt": "six\n", "notes.txt": b"caf\xe9", "corpus.txt/1": ""},
}
BAD: dict[str, tuple[dict[str, str | bytes], str]] = {
    "latin-1": ({"requirements.txt": b"six\n# caf\xe9\n"}, "line 2 of requirements.txt is not UTF-8: save"),
    "utf-16 without a mark": ({"requirements.txt": "six\n".encode("utf-16-le")}, "is not UTF-8: save"),
    "utf-16 in TOML": ({"pyproject.toml": PYPROJECT.encode("utf-16")}, "is not UTF-8. Save it as UTF-8"),
    "a folder": ({"requirements.txt/base.txt": "six\n"}, "requirements.txt has to be a file"),
    "a project that is a word": ({"pyproject.toml": 'project = "web"\n'}, r"a table \[project\] belongs"),
    "a NUL": ({"requirements.txt": "six\0\n"}, r"requirements\.txt"),
    "a file elsewhere": (
        {"requirements.txt": b"\xef\xbb\xbf-r /etc/hostname\n"},
        "outside of the repository",
    ),
    "one in utf-16": (
        {"requirements.txt": "-r /etc/hostname\n".encode("utf-16")},
        "outside of the repository",
    ),
    "one after a comment": (
        {"requirements.txt": "# ours \\\n-r /etc/hostname\n"},
        "outside of the repository",
    ),
}


@pytest.mark.parametrize("style", GOOD)
def test_a_file_is_read_in_any_encoding(
    style: str, make_installer: Callable[..., Installer], shelf: Shelf
) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    put_package(shelf, "six", build_wheel("six"))
    resolved = installer.resolve(GOOD[style])

    assert 'name = "six"' in resolved.lock


@pytest.mark.parametrize("style", BAD)
def test_a_file_that_cannot_be_read_is_named(style: str, make_installer: Callable[..., Installer]) -> None:
    files, words = BAD[style]
    with pytest.raises(RejectedError, match=words) as fault:
        make_installer(UV_DEFAULT_INDEX="http://127.0.0.1:9/").resolve(files)

    assert "\n" not in str(fault.value)


def test_a_project_without_dependencies_is_told(
    make_installer: Callable[..., Installer], shelf: Shelf
) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    put_package(shelf, "six", build_wheel("six"))
    installer.resolve(
        {"requirements.txt": "six\n", "pyproject.toml": '[project]\nname = "a"\nversion = "1"\n'}
    )

    assert "pyproject.toml names no dependencies" in installer.log.read_text()


def test_a_link_to_nowhere_that_nothing_includes_does_not_matter(
    make_installer: Callable[..., Installer], shelf: Shelf
) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    put_package(shelf, "six", build_wheel("six"))
    source = installer.write({"requirements.txt": "six\n"})
    (source / "old.txt").symlink_to("nowhere.txt")
    (source / "data").symlink_to("/nowhere/data")
    resolved = environments.resolve_environment(source, installer.home, installer.log, installer.held("one"))

    assert 'name = "six"' in resolved.lock


def test_a_link_to_nowhere_is_named(make_installer: Callable[..., Installer]) -> None:
    installer = make_installer()
    source = installer.write({})
    (source / "requirements.txt").symlink_to("nowhere.txt")
    with pytest.raises(RejectedError, match=r"requirements\.txt has to be a file of its own"):
        environments.resolve_environment(source, installer.home, installer.log, installer.held("one"))
