"""The Python that a repository asks for: found outside of it, or named as what is missing."""

import platform
from pathlib import Path

import pytest

from common.errors import RejectedError
from ml.environments import environments, locked_environment
from ml.paths import HomeLayout
from ml.sandbox.sandbox import Sandbox


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / "requirements.txt").write_text("")
    for place in ("python", ".venv/bin/python", ".venv/bin/python3"):  # of its own: never to be run by us
        (folder / place).write_text(f"#!/bin/sh\ntouch {tmp_path}/was-here\n")
        (folder / place).chmod(0o755)
    return folder


def resolve(source: Path) -> locked_environment.LockedEnvironment:
    home = source.parent / "home"
    held = Sandbox(home, "one", None, 1 << 32, 1 << 30, 500, (443,))
    return environments.resolve_environment(source, HomeLayout(home), home / "log", held)


@pytest.mark.parametrize("pin", ["3.{}", ">=3.10", "python3.{}"])
def test_a_pin_that_the_machine_satisfies_is_found(pin: str, source: Path) -> None:
    (source.parent / "home").mkdir()
    minor = platform.python_version_tuple()[1]
    (source / ".python-version").write_text(pin.format(minor) + "\n")

    assert resolve(source).python.startswith("3.")
    assert not (source.parent / "was-here").exists()


@pytest.mark.parametrize("pin", ["./python", "/bin/sh", "--help", "3.1.99"])
def test_a_pin_that_it_does_not_is_named(pin: str, source: Path) -> None:
    (source.parent / "home").mkdir()
    (source / ".python-version").write_text(pin)
    with pytest.raises(RejectedError, match=f"it asks for Python '?{pin}"):
        resolve(source)

    assert not (source.parent / "was-here").exists()
