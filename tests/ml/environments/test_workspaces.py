"""A project above SLIPWAY_HOME, as in a clone of Slipway, plays no part in an environment."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.harness.packages import BACKEND, PROJECT, build_sdist, build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.ml.environments.conftest import Installer

ABOVE = """
[project]
name = "above"
version = "1"
[tool.uv.workspace]
members = ["home/releases/*/source"]
[tool.uv.sources]
six = { path = "six" }
"""
REPOSITORY = (
    '[project]\nname = "model"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["six", "built"]\n'
)
LOCK = """
version = 1
requires-python = ">=3.10"
[[package]]
name = "model"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "six" }}, {{ name = "built" }}]
[[package]]
name = "built"
version = "1.0"
source = {{ registry = "{index}" }}
sdist = {{ url = "{files}built-1.0.tar.gz", hash = "sha256:{built}" }}
[[package]]
name = "six"
version = "1.0"
source = {{ registry = "{index}" }}
wheels = [{{ url = "{files}six-1.0-py3-none-any.whl", hash = "sha256:{six}" }}]
"""
OURS = {
    "requirements.txt": "./ours\nsix\nbuilt\n",
    "ours/pyproject.toml": PROJECT.format(name="ours"),
    "ours/backend.py": BACKEND.format(name="ours", body=""),
}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that every user may pass, with a project in it."""
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        (folder / "pyproject.toml").write_text(ABOVE)
        yield folder


@pytest.fixture
def installer(make_installer: Callable[..., Installer], shelf: Shelf) -> Installer:
    put_package(shelf, "six", build_wheel("six"))
    put_package(shelf, "built", build_sdist("built"), "tar.gz")
    return make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))


def lock_of(shelf: Shelf) -> str:
    names = {"six": "six-1.0-py3-none-any.whl", "built": "built-1.0.tar.gz"}
    digests = {
        name: hashlib.sha256(shelf.items[f"/files/{file}"].content).hexdigest()
        for name, file in names.items()
    }
    return LOCK.format(index=shelf.url("/simple/"), files=shelf.url("/files/"), **digests)


@pytest.mark.parametrize("style", ["uv.lock", "pyproject.toml", "own project"])
def test_a_project_above_plays_no_part(style: str, installer: Installer, shelf: Shelf) -> None:
    files = OURS if style == "own project" else {"pyproject.toml": REPOSITORY}
    if style == "uv.lock":
        files |= {"uv.lock": lock_of(shelf)}
    expected = {"six", "built", "ours"} if style == "own project" else {"six", "built"}

    assert installer.modules(files) == expected
    assert "ermission denied" not in installer.log.read_text()
