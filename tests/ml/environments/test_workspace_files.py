"""Of a model in a folder, uv reads files of the workspace around it: they are checked, and in the key."""

from pathlib import Path

import pytest

from common.errors import RejectedError
from ml.environments.package_files import find_package_file
from ml.environments.requirements import Requirements, read_requirements

ROOT = '[tool.uv.workspace]\nmembers = ["models/churn"]\n'
MEMBER = '[project]\nname = "churn"\nversion = "1"\ndependencies = ["six"]\n'
LOCK = "version = 1\n[[package]]\nname = 'six'\nversion = '1'\nsource = { %s }\n"


def read(export: Path, files: dict[str, str]) -> Requirements:
    for name, text in files.items():
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        (export / name).write_text(text)
    source = export / "models/churn"
    return read_requirements(find_package_file(source), source, export)


FILES = {
    "pyproject.toml": ROOT,
    "uv.lock": LOCK % "registry = 'https://pypi.org/simple'",
    "models/churn/pyproject.toml": MEMBER,
    "models/churn/uv.lock": LOCK % "registry = 'https://pypi.org/simple'",
}


@pytest.mark.parametrize("without", ["", "models/churn/uv.lock"])
def test_files_of_a_workspace_decide_about_its_lock(without: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("not the repository's")
    export = tmp_path / "repository"
    found = read(export, {name: text for name, text in FILES.items() if name != without})
    assert {export / "uv.lock", export / "pyproject.toml"} <= set(found.files)
    assert tmp_path / "pyproject.toml" not in found.files


def test_a_lock_of_a_workspace_names_nothing_outside(tmp_path: Path) -> None:
    outside = LOCK % "directory = '../elsewhere'"
    with pytest.raises(RejectedError, match="outside of the repository"):
        read(tmp_path / "repository", {**FILES, "uv.lock": outside})
