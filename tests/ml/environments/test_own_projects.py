"""Wheels and projects of the repository itself: installed from its commit, or refused in a sentence."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import RejectedError
from ml.environments import local_parts
from tests.harness.packages import BACKEND, build_sdist, build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.ml.environments.conftest import Installer, write_files

WHEEL = {"wheels/ours-1.0-py3-none-any.whl": build_wheel("ours")}
SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
NAMED = SYSTEM + '[project]\nname = "ours"\nversion = "1.0"\n'
LEAVING = "open('left-by-the-build', 'w').close()"  # as setuptools does, beside what it builds
PYPROJECT = (
    '[project]\nname = "project"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["six", "ours"]\n'
)
LOCK = """
version = 1
revision = 2
requires-python = ">=3.10"
[[package]]
name = "ours"
version = "1.0"
source = {{ directory = "ours" }}
[[package]]
name = "project"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "ours" }}, {{ name = "six" }}]
[[package]]
name = "six"
version = "1.0"
source = {{ registry = "{index}" }}
wheels = [{{ url = "{files}six-1.0-py3-none-any.whl", hash = "sha256:{digest}" }}]
"""


def project(folder: str = "ours/", pyproject: str = NAMED, body: str = LEAVING) -> dict[str, str]:
    return {
        f"{folder}pyproject.toml": pyproject,
        f"{folder}backend.py": BACKEND.format(name="ours", body=body)
        + "build_editable = build_wheel\n"
        + "def prepare_metadata_for_build_wheel(folder, *_):\n"
        + "    os.mkdir(folder + '/ours-1.0.dist-info')\n"
        + "    with open(folder + '/ours-1.0.dist-info/METADATA', 'w') as file:\n"
        + "        file.write('Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\nRequires-Dist: six\\n')\n"
        + "    return 'ours-1.0.dist-info'\n"
        + "prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel\n",
    }


def requiring(lines: str, more: dict[str, str] | dict[str, bytes]) -> dict[str, str | bytes]:
    return {"requirements.txt": lines, **more}


# styles of a repository that asks for `six` and its own `ours`
STYLES: dict[str, dict[str, str | bytes]] = {
    "wheel": requiring("./wheels/ours-1.0-py3-none-any.whl\nsix\n", WHEEL),
    "wheel without a dot": requiring("wheels/ours-1.0-py3-none-any.whl\nsix\n", WHEEL),
    "named wheel": requiring("ours @ file:./wheels/ours-1.0-py3-none-any.whl\nsix\n", WHEEL),
    "folder of wheels": requiring("--find-links wheels\nours\nsix\n", WHEEL),
    "project": requiring("./ours\nsix\n", project()),
    "editable project": requiring("-e ./ours\nsix\n", project()),
    "itself": requiring("-e .\n", project("", SYSTEM)),
    "itself by a build": project("", NAMED + 'dynamic = ["dependencies"]\n') | {"ours/__init__.py": ""},
    "source of uv": {
        "pyproject.toml": PYPROJECT + '[tool.uv.sources]\nours = { path = "ours", editable = true }\n',
        **project(),
    },
    "files of setuptools": {
        "pyproject.toml": NAMED + 'dynamic = ["dependencies"]\n[tool.setuptools.dynamic]\n'
        'dependencies = { file = ["requirements.txt", "own.in"] }\n',
        "requirements.txt": "six\n",
        "own.in": "./wheels/ours-1.0-py3-none-any.whl\n",
        **WHEEL,
    },
}


@pytest.fixture
def installer(make_installer: Callable[..., Installer], shelf: Shelf) -> Installer:
    put_package(shelf, "six", build_wheel("six"))
    return make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/", user="me:password-4711@"))


@pytest.mark.parametrize("style", STYLES)
def test_what_lies_in_the_repository_is_installed(style: str, installer: Installer) -> None:
    expected = {"six"} if style == "itself by a build" else {"six", "ours"}

    assert installer.modules(STYLES[style]) == expected
    source = installer.repositories / "1/source"
    assert not [*source.rglob("left-by-the-build")]
    assert not [path for path in installer.log.parent.iterdir() if path != installer.log]


def test_a_project_of_a_lock_of_uv_is_installed(installer: Installer, shelf: Shelf) -> None:
    digest = hashlib.sha256(shelf.items["/files/six-1.0-py3-none-any.whl"].content).hexdigest()
    lock = LOCK.format(index=shelf.url("/simple/"), files=shelf.url("/files/"), digest=digest)
    sources = '[tool.uv.sources]\nours = { path = "ours" }\n'

    assert installer.modules({"pyproject.toml": PYPROJECT + sources, "uv.lock": lock, **project()}) == {
        *("six", "ours")
    }


def test_a_changed_project_is_another_environment(installer: Installer) -> None:
    first = installer.build(installer.resolve(STYLES["project"]))
    second = installer.build(installer.resolve({**STYLES["project"], "ours/ours/more.py": "x = 1\n"}))
    again = installer.resolve({**STYLES["project"], "README.md": "no part of it\n"})

    assert first != second
    assert installer.build(again) == first


def test_a_file_that_is_too_large_for_a_project_is_named(installer: Installer) -> None:
    large = bytes(local_parts.MAX_FILE_BYTES + 1)
    installer.build(
        installer.resolve({**STYLES["project"], "ours/ours/weights.bin": large, "data.bin": large})
    )

    said = installer.log.read_text()
    assert "not in the installed project, because larger than 16.0 MiB: ours/ours/weights.bin. Open" in said


def test_a_linked_folder_is_a_part_of_its_project(tmp_path: Path) -> None:
    source, beside = write_files(tmp_path / "source", {**project(), "lib/a.py": "x = 1\n"}), tmp_path / "logs"
    beside.mkdir()
    (source / "ours/linked").symlink_to("../lib")
    (source / "lib/back").symlink_to("../ours")
    before = local_parts.hash_project(source / "ours")
    with local_parts.temporary_copy(source, beside, None) as copy:
        assert (copy / "ours/linked/a.py").read_text() == "x = 1\n"

    (source / "lib/a.py").write_text("x = 2\n")
    assert local_parts.hash_project(source / "ours") != before


def test_links_that_lead_in_circles_have_an_end(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "ours" / name).mkdir(parents=True)
        for other in ("a", "b", "c"):
            (tmp_path / "ours" / name / f"to-{other}").symlink_to(f"../{other}")
    (tmp_path / "ours/a/module.py").touch()

    assert 1 < len(local_parts.list_files(tmp_path / "ours")) < 100


def test_a_changed_wheel_is_another_environment(installer: Installer) -> None:
    changed = build_wheel("ours", {"ours/__init__.py": "answer = 43\n"})
    first = installer.build(installer.resolve(STYLES["wheel"]))
    second = installer.build(
        installer.resolve(
            requiring(
                "./wheels/ours-1.0-py3-none-any.whl\nsix\n", {"wheels/ours-1.0-py3-none-any.whl": changed}
            )
        )
    )

    assert installer.module(first, "ours") == "answer = 42\n"
    assert installer.module(second, "ours") == "answer = 43\n"


def test_an_environment_is_made_again_from_its_commit(installer: Installer) -> None:
    """Where the release's folder lies by then does not matter."""
    resolved = installer.resolve(STYLES["wheel"])
    (installer.repositories / "1").rename(installer.repositories / "2")
    shutil.rmtree(installer.home.package_cache)

    assert installer.module(installer.build(resolved), "ours") == "answer = 42\n"


SPY = """
import os
print("the index is", os.environ.get("UV_DEFAULT_INDEX", "")[::-1])
raise SystemExit(1)
"""


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "-e ./ours\n"},
        {"requirements.txt": "# a comment ends with its line \\\n-e ./ours\n"},
        {"requirements.txt": "--editable=./ours\n".encode("utf-16")},
        {"pyproject.toml": PYPROJECT + '[tool.uv.sources]\nours = { path = "ours", editable = true }\n'},
        {
            "pyproject.toml": PYPROJECT + "[tool.uv.sources]\nours = { workspace = true }\n"
            '[tool.uv.workspace]\nmembers = ["ours"]\n'
        },
        {"requirements.txt": "--editable\u00a0./ours\n"},
        {"requirements.txt": "-r\u00a0more.txt\n", "more.txt": "-e ./ours\n"},
        {"requirements.txt": "-r more.txt#x\n", "more.txt": "-e ./ours\n", "more.txt#x": "six\n"},
        {"requirements.txt": "-r more.txt x\n", "more.txt": "six\n", "more.txt x": "-e ./ours\n"},
        {"requirements.txt": "-r mo\\re.txt\n", "more.txt": "six\n", "mo\\re.txt": "-e ./ours\n"},
        {"requirements.txt": "-r a\\\n.txt\n", "a.txt": "six\n", "a": "-e ./ours\n"},
    ],
)
def test_a_build_of_the_repository_gets_no_login(files: dict[str, str | bytes], installer: Installer) -> None:
    """uv builds what is editable also where it is told to build nothing.

    A build in the model's sandbox sees an address on this machine in place of the index's `/simple/`.
    """
    with pytest.raises(RejectedError):
        installer.resolve({**files, "ours/pyproject.toml": SYSTEM, "ours/backend.py": SPY})

    assert not installer.log.exists() or "/elpmis/" not in installer.log.read_text()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("../ours\n", "outside of the repository"),
        ("-e /srv/ours\n", "outside of the repository"),
        ("wheels/../../../ours-1.0-py3-none-any.whl\n", "outside of the repository"),
        ("./missing\n", "missing"),
        ("./wheels/missing-1.0-py3-none-any.whl\n", "missing"),
    ],
)
def test_what_does_not_lie_in_the_repository_is_refused(lines: str, words: str, installer: Installer) -> None:
    with pytest.raises(RejectedError, match=words):
        installer.resolve({"requirements.txt": lines})


def test_a_package_without_a_wheel_for_this_python_is_named(installer: Installer, shelf: Shelf) -> None:
    """Its build fails as those of old pins do: the tools that it needs are not there any more."""
    files = ("old-1.0-cp36-cp36m-manylinux1_x86_64.whl", "old-1.0.tar.gz")
    shelf.put(build_wheel("old"), f"/files/{files[0]}")
    shelf.put(build_sdist("old", "import pkg_resources_of_another_time"), f"/files/{files[1]}")
    page = shelf.put(
        "".join(f'<a href="/files/{file}">{file}</a>' for file in files).encode(), "/simple/old/"
    )
    page.headers["Content-Type"] = "text/html"
    with pytest.raises(RejectedError, match=r"old 1\.0 has no wheel for this Python") as fault:
        installer.modules({"requirements.txt": "old==1.0\n"})

    assert "pkg_resources" not in str(fault.value)
    assert "pkg_resources" in installer.log.read_text()
