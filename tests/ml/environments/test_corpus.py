"""Requirement and project files in the styles that people have: each is right, or refused in a sentence."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import RejectedError
from ml.environments import locks
from ml.environments.package_files import find_package_file
from ml.paths import HomeLayout
from ml.settings import MlSettings
from tests.harness.packages import build_wheel, put_package
from tests.harness.shelf import Shelf, serving
from tests.ml.environments.conftest import Installer

OFFERED = ("pandas", "numpy", "scikit-learn", "torch", "requests")
PINNED = hashlib.sha256(build_wheel("numpy")).hexdigest()
PROJECT = '[project]\nname = "churn"\nversion = "0.1.0"\nrequires-python = ">=3.10"\n'
R, P = "requirements.txt", "pyproject.toml"
Files = dict[str, str | bytes]

# the style → its files, and the packages that are resolved
RIGHT: dict[str, tuple[Files, set[str]]] = {
    "names": ({R: "pandas\nnumpy\n"}, {"pandas", "numpy"}),
    "pip freeze": ({R: "numpy==1.0\npandas==1.0\n"}, {"pandas", "numpy"}),
    "pip freeze of PowerShell": ({R: "numpy==1.0\r\npandas==1.0\r\n".encode("utf-16")}, {"pandas", "numpy"}),
    "sections and comments": ({R: "# --- data ---\npandas>=0.5  # frames\n\n# numpy\n"}, {"pandas"}),
    "spaces around pins": ({R: "pandas >= 0.5 , < 2\n  numpy ~= 1.0\n"}, {"pandas", "numpy"}),
    "markers": ({R: 'pandas; python_version >= "3.8"\nnumpy; sys_platform == "win32"\n'}, {"pandas"}),
    "names of any spelling": ({R: "Scikit_Learn\nPandas\n"}, {"scikit-learn", "pandas"}),
    "an index first": ({R: "--index-url https://pypi.org/simple\npandas\n"}, {"pandas"}),
    "an extra index": ({R: "--extra-index-url {own}\ntorch==2.1+cpu\npandas\n"}, {"torch", "pandas"}),
    "constraints": ({R: "-c constraints.txt\npandas\n", "constraints.txt": "pandas==1.0\n"}, {"pandas"}),
    "parts": (
        {
            R: "-r requirements/prod.txt\n",
            "requirements/prod.txt": "-r base.txt\nnumpy\n",
            "requirements/base.txt": "pandas\n",
        },
        {"pandas", "numpy"},
    ),
    "pip-compile": (
        {R: "#\n# by pip-compile\n#\nnumpy==1.0 \\\n    --hash=sha256:" + PINNED + "\n    # via pandas\n"},
        {"numpy"},
    ),
    "lines of Windows": ({R: b"pandas\r\nnumpy\r\n"}, {"pandas", "numpy"}),
    "a byte order mark": ({R: b"\xef\xbb\xbfpandas\n"}, {"pandas"}),
    "only a comment": ({R: "# nothing yet\n"}, set()),
    "a wheel": ({R: "./wheels/ours-1.0-py3-none-any.whl\npandas\n"}, {"ours", "pandas"}),
    "a folder of wheels": ({R: "--find-links=wheels\nours\n"}, {"ours"}),
    "a project": ({P: PROJECT + 'dependencies = ["pandas>=0.5", "numpy"]\n'}, {"pandas", "numpy"}),
    "extras that are not asked for": (
        {P: PROJECT + 'dependencies = ["pandas"]\n[project.optional-dependencies]\ndev = ["nothing"]\n'},
        {"pandas"},
    ),
    "groups of developers": (
        {P: PROJECT + 'dependencies = ["pandas"]\n[dependency-groups]\ndev = ["nothing"]\n'},
        {"pandas"},
    ),
    "Poetry 2": (
        {P: PROJECT + 'dependencies = ["pandas (>=0.5,<2)"]\n[tool.poetry]\npackages = []\n'},
        {"pandas"},
    ),
    "hatchling": (
        {
            P: '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            + PROJECT
            + 'dependencies = ["numpy"]\n'
        },
        {"numpy"},
    ),
    "tools alone": ({P: "[tool.ruff]\nline-length = 100\n[tool.black]\n", R: "pandas\n"}, {"pandas"}),
    "a project beside requirements": ({P: PROJECT, R: "pandas\n"}, {"pandas"}),
    "setuptools reads requirements": (
        {
            P: PROJECT + 'dynamic = ["dependencies"]\n[tool.setuptools.dynamic]\n'
            'dependencies = { file = "requirements.txt" }\n',
            R: "pandas\n",
        },
        {"pandas"},
    ),
    "conda beside requirements": ({R: "pandas\n", "environment.yml": "dependencies: [pandas]\n"}, {"pandas"}),
}
# the style → its files, and what the sentence has to say
REFUSED: dict[str, tuple[Files, str]] = {
    "a path of the author": ({R: "pandas @ file:///C:/ada/pandas.whl\n"}, "outside of the repository"),
    "conda list --export": ({R: "pandas=1.0=py311_0\n"}, "pandas=1.0=py311_0"),
    "a hash of another file": ({R: f"numpy==1.0 --hash=sha256:{'0' * 64}\n"}, "another hash"),
    "ssh": ({R: "git+ssh://git@github.com/acme/features.git\n"}, "packages come by https alone"),
    "latin-1": ({R: b"# donn\xe9es\npandas\n"}, "is not UTF-8"),
    "not TOML": ({P: "[project\n"}, "is not TOML"),
}
# the style → its files, and what the log says of packages that are the default
UNREAD: dict[str, tuple[Files, str]] = {
    "Poetry 1": ({P: '[tool.poetry]\nname = "churn"\n[tool.poetry.dependencies]\n'}, "[tool.poetry]"),
    "conda": ({"environment.yml": "name: churn\n"}, "environment.yml"),
    "Pipenv": ({"Pipfile": '[packages]\npandas = "*"\n'}, "pipenv requirements"),
    "setup.py": ({"setup.py": "from setuptools import setup\nsetup()\n"}, "the line `.`"),
    "setup.cfg": ({"setup.cfg": "[metadata]\n"}, "the line `.`"),
    "a lock alone": ({"uv.lock": "version = 1\n"}, "commit its pyproject.toml too"),
    "what pip-compile reads": ({"requirements.in": "pandas\n"}, "uv pip compile"),
    "nothing": ({}, "Add a requirements.txt"),
}


@pytest.fixture(scope="module")
def shelves() -> Iterator[tuple[Shelf, Shelf]]:
    with serving() as shelf, serving() as own:
        for name in OFFERED:
            put_package(shelf, name, build_wheel(name.replace("-", "_")))
        put_package(own, "torch", build_wheel("torch", version="2.1+cpu"), version="2.1+cpu")
        yield shelf, own


@pytest.fixture(scope="module")
def installer(tmp_path_factory: pytest.TempPathFactory, shelves: tuple[Shelf, Shelf]) -> Iterator[Installer]:
    """One for all: what was resolved for one style is no other's."""
    home, (shelf, own) = tmp_path_factory.mktemp("home"), shelves
    (home / "releases").mkdir()
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("DATABASE_URL", "postgresql://a@127.0.0.1/b")
        variables.setenv("SLIPWAY_HOME", str(home))
        variables.setenv("UV_DEFAULT_INDEX", shelf.url("/simple/"))
        variables.setenv("UV_INDEX", own.url("/none/"))
        yield Installer(MlSettings(), HomeLayout(home), home / "releases")


def filled(files: Files, own: Shelf) -> Files:
    made = {
        name: text.replace("{own}", own.url("/simple/")) if isinstance(text, str) else text
        for name, text in files.items()
    }
    return {**made, "wheels/ours-1.0-py3-none-any.whl": build_wheel("ours")}


@pytest.mark.parametrize("style", RIGHT)
def test_a_style_is_resolved(style: str, installer: Installer, shelves: tuple[Shelf, Shelf]) -> None:
    files, expected = RIGHT[style]
    resolved = installer.resolve(filled(files, shelves[1]))

    assert {str(package["name"]) for package in locks.parse_packages(resolved.lock)} == expected


@pytest.mark.parametrize("style", REFUSED)
def test_a_style_is_refused(style: str, installer: Installer, shelves: tuple[Shelf, Shelf]) -> None:
    files, words = REFUSED[style]
    with pytest.raises(RejectedError) as fault:
        installer.resolve(filled(files, shelves[1]))

    assert words in str(fault.value)
    assert "Traceback" not in str(fault.value)


@pytest.mark.parametrize("style", UNREAD)
def test_a_style_that_is_not_read_is_named(style: str, tmp_path: Path) -> None:
    files, words = UNREAD[style]
    for name, text in files.items():
        (tmp_path / name).write_text(str(text))
    found = find_package_file(tmp_path)

    assert found.is_default
    assert words in found.note
