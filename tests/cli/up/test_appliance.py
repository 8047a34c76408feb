"""What keeps the appliance from starting is one line that says what to do, and leaves nothing running."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cli.up import home_lock
from db import appliance
from tests.harness.processes import mentioning
from tests.harness.waiting import free_port, wait_until

UP = [sys.executable, "-c", "from cli.main import app; app()", "up"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An appliance of its own; nothing is configured but where it lives."""
    names = ("PATH", "HOME", "SSL_CERT_FILE")
    ours = {"SLIPWAY_HOME": str(tmp_path / "home"), "MLFLOW_TRACKING_URI": ""}
    ours |= {"VCS_PORT": str(free_port()), "ML_PORT": str(free_port())}
    return {name: os.environ[name] for name in names if name in os.environ} | ours


def refusal(environment: dict[str, str], folder: Path) -> str:
    """What `slipway up` says when it does not start."""
    done = subprocess.run(
        UP, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert mentioning(environment["SLIPWAY_HOME"]) == []
    return done.stderr


@pytest.mark.parametrize("variable", ["VCS_PORT", "ML_PORT", "DEMO_PORT"])
def test_a_taken_port_is_named(environment: dict[str, str], tmp_path: Path, variable: str) -> None:
    environment.setdefault(variable, str(free_port()))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment[variable])))
        taken.listen()
        said = refusal(environment, tmp_path)
    port = environment[variable]
    cure = f"end what listens there, or choose another with {variable}"
    assert said == f"slipway: port {port} on 127.0.0.1 is taken: {cure}\n"
    assert not (tmp_path / "home" / "postgres").exists()


def test_two_services_cannot_share_a_port(environment: dict[str, str], tmp_path: Path) -> None:
    environment["ML_PORT"] = environment["VCS_PORT"]
    assert "VCS_PORT and ML_PORT are both" in refusal(environment, tmp_path)


def test_a_setting_that_makes_no_sense_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    assert refusal(environment | {"ML_PORT": "eight"}, tmp_path).startswith("slipway: ML_PORT: ")


def test_a_home_has_one_appliance(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "home"
    home_lock.make_folder(folder)
    lock = home_lock.acquire_lock(folder)
    said = refusal_of_a_second(environment, tmp_path)
    assert said == (
        f"slipway: an appliance runs in {folder} already (process {os.getpid()}): "
        "end that one, or give this one another SLIPWAY_HOME. "
        "Two share one when each has the same DATABASE_URL and follows a repository\n"
    )
    os.close(lock)


def refusal_of_a_second(environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(UP, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr


def test_the_next_appliance_waits_for_what_a_killed_one_started(tmp_path: Path) -> None:
    home_lock.make_folder(tmp_path)
    held = home_lock.acquire_lock(tmp_path)
    with subprocess.Popen(["true"]) as dead:
        pass
    (tmp_path / "lock").write_text(str(dead.pid))
    child = subprocess.Popen(["sleep", "1"], pass_fds=[held])
    os.close(held)
    os.close(home_lock.acquire_lock(tmp_path))
    assert child.wait() == 0


@pytest.mark.parametrize("followed", ["repository", "demo"])
def test_a_database_follows_one_kind_of_repository(
    environment: dict[str, str],
    tmp_path: Path,
    sessions: sessionmaker[Session],
    database_url: str,
    followed: appliance.Mode,
) -> None:
    with sessions.begin() as session:
        appliance.set_mode(session, followed)
    environment["DATABASE_URL"] = database_url
    if followed == "demo":
        environment["SLIPWAY_REPOSITORY"] = "acme/web-traffic"
    assert "this database" in refusal(environment, tmp_path)


def test_a_broken_models_toml_is_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("[web]\nbranch = 1\n")

    said = refusal(environment, tmp_path)
    assert said == "models.toml: web.repository: Field required; web.branch: Input should be a valid string\n"


def test_asked_to_end_while_it_starts_it_leaves_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    starting = subprocess.Popen(UP, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert starting.stdout
    starting.stdout.readline()  # Postgres says something
    starting.send_signal(signal.SIGINT)
    starting.communicate()
    assert starting.returncode == 0
    wait_until(lambda: not mentioning(tmp_path), 10, "all have ended")
