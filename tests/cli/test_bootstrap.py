"""A machine with nothing but Python gets the uv that uv.lock pins, and no other."""

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

from resources import bootstrap

ROOMS = ("cli", "common", "db", "ml", "resources.demo", "mlflow_server", "vcs")
# imported as modules of a service would be; what runs in environments of its own is not
IMPORT = """
import importlib, pkgutil, sys
for room in sys.argv[1:]:
    found = importlib.import_module(room)
    for module in pkgutil.walk_packages(found.__path__, room + "."):
        others = "vcs.tap", "vcs.git_tap", "vcs.target", "mlflow_server.launch", "mlflow_server.guards"
        programs = "ml.monitor.drift.", "ml.monitor.quality."  # of the monitor's own environment
        if module.name not in others and not module.name.startswith(programs):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
"""


@pytest.fixture
def package() -> object:
    return bootstrap.locked((bootstrap.ROOT / "uv.lock").read_text())


@pytest.mark.parametrize(
    ("system", "machine", "libc", "tag"),
    [
        ("Linux", "x86_64", "glibc", "manylinux_2_17_x86_64"),
        ("Linux", "aarch64", "glibc", "aarch64"),
        ("Linux", "x86_64", "", "musllinux_1_1_x86_64"),
        ("Linux", "armv7l", "glibc", "manylinux_2_17_armv7l"),
        ("Darwin", "arm64", "", "macosx_11_0_arm64"),
    ],
)
def test_the_wheel_fits_the_machine(package: object, system: str, machine: str, libc: str, tag: str) -> None:
    url, sha256 = bootstrap.wheel_for(package, system, machine, libc)
    assert tag in url
    assert len(sha256) == 64


def test_a_machine_without_a_wheel_is_told_so(package: object) -> None:
    with pytest.raises(SystemExit, match="no wheel for Plan9 on pdp11: install uv by hand"):
        bootstrap.wheel_for(package, "Plan9", "pdp11", "")


def wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("uv-0.0.1.data/scripts/uv", "#!/bin/sh\necho uv 0.0.1\n")
    return packed.getvalue()


def test_uv_is_unpacked_ready_to_run(tmp_path: Path) -> None:
    target = tmp_path / "bin" / "uv"
    bootstrap.unpack(wheel(), hashlib.sha256(wheel()).hexdigest(), target)
    assert subprocess.run([target], capture_output=True, text=True, check=True).stdout == "uv 0.0.1\n"
    assert [path.name for path in target.parent.iterdir()] == ["uv"]


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"not the uv that uv\.lock pins"):
        bootstrap.unpack(wheel() + b"!", hashlib.sha256(wheel()).hexdigest(), tmp_path / "uv")
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_index_is_one_line() -> None:
    with pytest.raises(
        SystemExit, match=r"cannot fetch http://127\.0\.0\.1:9/uv\.whl: .*name it in HTTPS_PROXY"
    ):
        bootstrap.download("http://127.0.0.1:9/uv.whl")


def test_versions_compare_as_numbers() -> None:
    assert bootstrap.minor("uv 0.13.8 (abc 2026-01-01)") > bootstrap.minor("0.9.30")


def test_what_runs_needs_no_tools_of_developers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the services import is there, and no more is fetched."""
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(tmp_path / "venv"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    command = [
        uv.find_uv_bin(),
        "sync",
        "--locked",
        "--quiet",
        "--project",
        bootstrap.ROOT,
        *bootstrap.TO_RUN,
    ]
    subprocess.run([*command, "--python", sys.executable], check=True)
    python = tmp_path / "venv" / "bin" / "python"

    subprocess.run([python, "-c", IMPORT, *ROOMS], check=True, cwd=bootstrap.ROOT)
    for tool in ("mypy", "ruff", "pytest", "selenium", "numpy"):
        assert not list((tmp_path / "venv" / "lib").glob(f"python*/site-packages/{tool}"))
