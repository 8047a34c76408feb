"""The indexes that a repository names reach what is installed, or take the place that they ask for."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uv

from common.errors import RejectedError, UnavailableError
from tests.harness.packages import build_wheel, put_package
from tests.harness.shelf import Item, Shelf
from tests.ml.environments.conftest import Installer, write_files

PROJECT = """
[project]
name = "project"
version = "1"
requires-python = ">=3.10"
dependencies = ["torchlike"]
"""
EXPLICIT = """
[[tool.uv.index]]
name = "own"
url = "{own}"
explicit = true
[tool.uv.sources]
torchlike = {{ index = "own" }}
"""
# styles of a repository that asks for the `torchlike` of its own index
STYLES: dict[str, dict[str, str]] = {
    "extra index": {"requirements.txt": "--extra-index-url {own}\ntorchlike==2.1+cpu\n"},
    "extra index in a file": {
        "requirements.txt": "-r more.txt\n",
        "more.txt": "--extra-index-url={own}\ntorchlike\n",
    },
    "index": {"requirements.txt": "--index-url {own}\ntorchlike\n"},
    "short index": {"requirements.txt": "-i {own}\ntorchlike\n"},
    "links": {"requirements.txt": "--find-links {own}torchlike/\ntorchlike==2.1+cpu\n"},
    "explicit": {"pyproject.toml": PROJECT + EXPLICIT},
    "first": {"pyproject.toml": PROJECT + '[[tool.uv.index]]\nurl = "{own}"\n'},
    "default": {"pyproject.toml": PROJECT + '[[tool.uv.index]]\nurl = "{own}"\ndefault = true\n'},
    "old default": {"pyproject.toml": PROJECT + '[tool.uv]\nindex-url = "{own}"\n'},
    "of pip": {"pyproject.toml": PROJECT + '[tool.uv.pip]\nextra-index-url = ["{own}"]\n'},
    "uv.toml": {"pyproject.toml": PROJECT, "uv.toml": '[[index]]\nurl = "{own}"\n'},
    "beside requirements": {
        "requirements.txt": "torchlike\n",
        "pyproject.toml": '[[tool.uv.index]]\nurl = "{own}"\n',
    },
}


@pytest.fixture
def installer(make_installer: Callable[..., Installer], shelf: Shelf, other_shelf: Shelf) -> Installer:
    """Of an operator with an index of its own, whose packages answer `operator` and the others' `own`."""
    for server, text, version in ((shelf, "operator", "2.1"), (other_shelf, "own", "2.1+cpu")):
        wheel = build_wheel("torchlike", {"torchlike/__init__.py": text}, version=version)
        put_package(server, "torchlike", wheel, version=version)
    return make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"), UV_INDEX=other_shelf.url("/none/"))


def filled(files: Mapping[str, str], own: str) -> dict[str, str]:
    return {
        name: text.replace("{own}", own).replace("{{", "{").replace("}}", "}") for name, text in files.items()
    }


@pytest.mark.parametrize("style", STYLES)
def test_an_index_of_the_repository_reaches_the_install(
    style: str, installer: Installer, other_shelf: Shelf
) -> None:
    resolved = installer.resolve(filled(STYLES[style], other_shelf.url("/simple/")))

    assert installer.module(installer.build(resolved), "torchlike") == "own"


def test_an_index_in_a_lock_of_uv_reaches_the_install(
    installer: Installer, other_shelf: Shelf, tmp_path: Path
) -> None:
    files = filled(STYLES["explicit"], other_shelf.url("/simple/"))
    folder = write_files(tmp_path, files)
    settings = {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_DEFAULT_INDEX": os.environ["UV_DEFAULT_INDEX"]}
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    subprocess.run([uv.find_uv_bin(), "lock", "--quiet"], check=True, cwd=folder, env=plain | settings)
    resolved = installer.resolve({**files, "uv.lock": (folder / "uv.lock").read_text()})

    assert installer.module(installer.build(resolved), "torchlike") == "own"


def test_one_version_in_two_indexes_is_the_repositorys(
    installer: Installer, shelf: Shelf, other_shelf: Shelf
) -> None:
    for server, text in ((shelf, "operator"), (other_shelf, "own")):
        put_package(server, "idna", build_wheel("idna", {"idna/__init__.py": text}))
    resolved = installer.resolve(
        {"requirements.txt": f"--extra-index-url {other_shelf.url('/simple/')}\nidna==1.0\n"}
    )

    assert installer.module(installer.build(resolved), "idna") == "own"


def test_the_operators_index_stands_for_pypi(installer: Installer) -> None:
    resolved = installer.resolve({"requirements.txt": "-i https://pypi.org/simple\ntorchlike\n"})

    assert installer.module(installer.build(resolved), "torchlike") == "operator"


def test_the_log_names_an_index_in_place_of_the_operators(installer: Installer, other_shelf: Shelf) -> None:
    own = other_shelf.url("/simple/")
    installer.resolve({"requirements.txt": f"--index-url {own}\ntorchlike\n"})

    assert f"{own} in place of the appliance's own index" in installer.log.read_text()


def test_a_changed_index_resolves_again(installer: Installer, other_shelf: Shelf) -> None:
    first = installer.resolve({"requirements.txt": "torchlike\n"})
    second = installer.resolve(filled(STYLES["beside requirements"], other_shelf.url("/simple/")))

    assert first.lock != second.lock


@pytest.mark.parametrize("place", ["/etc", "../other", "file:///etc", "~/wheels"])
def test_a_folder_of_packages_elsewhere_is_refused(place: str, installer: Installer) -> None:
    with pytest.raises(RejectedError, match="outside of the repository"):
        installer.resolve({"requirements.txt": "six\n", "uv.toml": f'find-links = ["{place}"]\n'})


def test_a_repository_does_not_choose_which_programs_uv_runs(installer: Installer) -> None:
    settings = 'keyring-provider = "subprocess"\ncache-dir = "/tmp/other"\n[pip]\npython = "./python"\n'
    resolved = installer.resolve({"requirements.txt": "torchlike\n", "uv.toml": settings})

    assert installer.module(installer.build(resolved), "torchlike") == "operator"


VARIABLE = "six @ {own}six-1.0-py3-none-any.whl?x=${{UV_DEFAULT_INDEX}}"


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": VARIABLE + "\n"},
        {"requirements.txt": "--extra-index-url {own}?x=${{UV_DEFAULT_INDEX}}\nsix\n"},
        {"requirements.txt": "--find-links {own}?x=${{UV_DEFAULT_INDEX}}\nsix\n"},
        {"pyproject.toml": PROJECT.replace("torchlike", VARIABLE)},
        {"requirements.txt": "evil @ {own}evil-1.0-py3-none-any.whl\n"},
    ],
)
def test_no_login_of_the_operator_is_filled_into_an_address(
    files: dict[str, str], make_installer: Callable[..., Installer], shelf: Shelf, other_shelf: Shelf
) -> None:
    """uv fills variables into addresses, also into those that packages name."""
    own = other_shelf.url("/files/")
    required = filled({"": VARIABLE}, own)[""]
    metadata = f"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\nRequires-Dist: {required}\n"
    evil = build_wheel("evil", {"evil-1.0.dist-info/METADATA": metadata})
    other_shelf.put(evil, "/files/evil-1.0-py3-none-any.whl")
    installer = make_installer(
        UV_DEFAULT_INDEX=shelf.url("/simple/", user="me:password-4711@"), UV_INDEX=other_shelf.url("/none/")
    )
    with pytest.raises((RejectedError, UnavailableError)):
        installer.resolve(filled(files, own))

    assert "password-4711" not in repr(other_shelf.asked)


def test_logins_of_pages_and_mirrors_are_no_variables(
    make_installer: Callable[..., Installer], shelf: Shelf, other_shelf: Shelf
) -> None:
    """A login in UV_FIND_LINKS opens its page and its files, and goes nowhere else."""
    shelf.items["/pages/torchlike-1.0-py3-none-any.whl"] = Item(
        build_wheel("torchlike", {"torchlike/__init__.py": "page"}), login="me:password-4711"
    )
    shelf.items["/pages/all.html"] = Item(
        b'<a href="torchlike-1.0-py3-none-any.whl">torchlike</a>',
        login="me:password-4711",
        headers={"Content-Type": "text/html"},
    )
    own = other_shelf.url("/files/")
    variables = "?a=${UV_FIND_LINKS}&b=${UV_PYTHON_INSTALL_MIRROR}"
    installer = make_installer(
        UV_DEFAULT_INDEX=other_shelf.url("/none/"),
        UV_FIND_LINKS=shelf.url("/pages/all.html", user="me:password-4711@"),
        UV_PYTHON_INSTALL_MIRROR="https://me:password-4712@mirror.example.com/pythons",
    )
    resolved = installer.resolve({"requirements.txt": "torchlike\n"})
    with pytest.raises((RejectedError, UnavailableError)):
        installer.resolve({"requirements.txt": f"six @ {own}six-1.0-py3-none-any.whl{variables}\n"})

    assert installer.module(installer.build(resolved), "torchlike") == "page"
    assert "password" not in str(other_shelf.asked)
    assert "password" not in installer.log.read_text()
