"""Commands find the appliance that runs, whatever its ports."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli import address
from cli.settings import CliSettings

HERE = {"serve": "http://127.0.0.1:18000", "vcs": "http://127.0.0.1:18080"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("SLIPWAY_URL", "SLIPWAY_VCS_URL", "ML_PORT", "VCS_PORT", "SLIPWAY_BIND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    return tmp_path


def test_what_the_home_says_is_asked_while_it_runs(home: Path) -> None:
    assert CliSettings().serve_url == "http://127.0.0.1:8000"
    address.write_addresses(home, HERE)
    assert (CliSettings().serve_url, CliSettings().vcs_url) == (HERE["serve"], HERE["vcs"])
    address.remove_addresses(home)
    assert CliSettings().vcs_url == "http://127.0.0.1:8080"


def test_what_is_set_goes_before_what_the_home_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address.write_addresses(home, HERE)
    monkeypatch.setenv("ML_PORT", "8001")
    assert CliSettings().serve_url == "http://127.0.0.1:8001"
    monkeypatch.setenv("SLIPWAY_URL", "http://elsewhere:1/")
    assert CliSettings().serve_url == "http://elsewhere:1"


@pytest.mark.parametrize("text", ["", "[]", '"x"', '{"serve": 7, "process": 1}', '{"serve": "http://x"}'])
def test_what_was_left_behind_is_not_asked(home: Path, text: str) -> None:
    (home / address.ADDRESSES_FILE).write_text(text)
    assert CliSettings().serve_url == "http://127.0.0.1:8000"


def test_an_appliance_that_was_killed_is_not_asked(home: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (home / address.ADDRESSES_FILE).write_text(json.dumps({**HERE, "process": ended.pid}))
    assert CliSettings().serve_url == "http://127.0.0.1:8000"


def test_another_appliances_address_stays(home: Path) -> None:
    (home / address.ADDRESSES_FILE).write_text(json.dumps({**HERE, "process": os.getppid()}))
    address.remove_addresses(home)
    assert CliSettings().serve_url == HERE["serve"]


def test_the_version_is_said() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from cli.main import app; app()", "--version"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == f"slipway {version('slipway')}\n"
