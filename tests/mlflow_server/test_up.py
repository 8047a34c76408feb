"""`make up` and MLflow: the rest does not wait for it, and each process is told its own part of it."""

import os
from pathlib import Path

import httpx
import psutil
import pytest

from cli.settings import CliSettings
from tests.harness import plain_http
from tests.harness.appliance import Running
from tests.harness.mlflow import ENVIRONMENT
from tests.harness.waiting import free_port, wait_until

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=5"
SECRETS = {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_PASSWORD_PATH", "MLFLOW_TRACKING_USERNAME"}


def status(url: str, password: Path) -> int:
    """What MLflow answers the operator; 0 when nothing does, or there is no password yet."""
    try:
        who = ("operator", password.read_text().strip())
        return plain_http.get(url + SEARCH, auth=who, timeout=10, trust_env=False).status_code
    except (OSError, httpx.TransportError):
        return 0


def told(process: psutil.Process | None) -> set[str]:
    assert process
    return SECRETS & set(process.environ())


def test_a_server_of_its_own(tmp_path: Path) -> None:
    port = str(free_port())
    running = Running(
        tmp_path,
        MLFLOW_TRACKING_URI=None,
        MLFLOW_TRACKING_PASSWORD="of another server",
        MLFLOW_PORT=port,
        SLIPWAY_MLFLOW=str(ENVIRONMENT),
    )
    try:
        url, password = f"http://127.0.0.1:{port}", running.home / "mlflow" / "operator.password"
        wait_until(lambda: status(url, password) == 200, 240, "MLflow lets the operator in")
        said = running.said.read_text()
        assert f"{url}\n" in said
        assert str(password) in said
        assert password.read_text().strip() not in said
        if os.geteuid() == 0:  # services close their environment to others
            assert told(running.service("ml.controller")) == {
                "MLFLOW_PASSWORD_PATH",
                "MLFLOW_TRACKING_USERNAME",
            }
            assert told(running.service("ml")) == told(running.service("vcs")) == set()
    finally:
        running.end()


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize(
    ("said", "url"),
    [
        ([], "http://127.0.0.1:5000"),
        ([""], ""),
        (["https://me:secret@mlflow.example.com/tracked"], "https://mlflow.example.com/tracked"),
    ],
)
def test_what_the_address_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], url: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for uri in said:
        if place == "environment":
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        else:
            Path(".env").write_text(f"MLFLOW_TRACKING_URI={uri}\n")
    settings = CliSettings()
    assert settings.has_local_mlflow is not bool(said)
    assert settings.mlflow_url == url
