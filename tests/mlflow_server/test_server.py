"""The MLflow server that comes with the appliance: who gets in, what it keeps, and what it never shows."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from cli.up.postgres import Postgres
from tests.harness import mlflow, plain_http
from tests.harness.mlflow import Server
from tests.harness.processes import mentioning, tree

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=5"
Who = tuple[str, str]


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = mlflow.start(postgres, tmp_path_factory.mktemp("mlflow"))
    yield started
    started.stop()


@pytest.fixture
def operator(server: Server) -> Who:
    return ("operator", server.operator_password)


@pytest.fixture
def appliance(server: Server) -> Who:
    return ("slipway", server.appliance_password)


def call(server: Server, path: str, who: Who | None, **body: Any) -> httpx.Response:
    method = "POST" if body else "GET"
    return plain_http.request(
        method, server.url + path, auth=who, json=body or None, timeout=30, trust_env=False
    )


def test_nobody_gets_in_without_a_password(server: Server) -> None:
    assert call(server, SEARCH, None).status_code == 401
    assert call(server, SEARCH, ("operator", "password1234")).status_code == 401
    assert call(server, "/", None).status_code == 401


def test_operator_and_appliance_are_admins(server: Server, operator: Who, appliance: Who) -> None:
    for who in (operator, appliance):
        assert call(server, SEARCH, who).json()["experiments"]
        assert {u["username"] for u in call(server, "/api/2.0/mlflow/users/list", who).json()["users"]} >= {
            "operator",
            "slipway",
        }


@pytest.fixture(scope="module")
def other(server: Server) -> Who:
    """A user as a model's code is one."""
    who = ("web-traffic", "a password of its own")
    admin = ("slipway", server.appliance_password)
    made = call(server, "/api/2.0/mlflow/users/create", admin, username=who[0], password=who[1])
    assert made.is_success, made.text
    return who


def test_others_may_nothing_that_is_not_granted(server: Server, other: Who) -> None:
    assert call(server, SEARCH, other).json().get("experiments", []) == []
    assert call(server, "/api/2.0/mlflow/experiments/get?experiment_id=0", other).status_code == 403
    made = call(server, "/api/2.0/mlflow/users/create", other, username="x", password="y" * 12)
    assert made.status_code == 403


def test_others_lead_the_server_to_no_file_of_the_machine(server: Server, other: Who, tmp_path: Path) -> None:
    """Whose experiment it is may say where its files are, and could have a folder there that is a link."""
    (tmp_path / "traces.json").write_text('{"spans": []}')
    create, trace = "/api/2.0/mlflow/experiments/create", f"tr-{'0' * 32}"
    for place in (tmp_path.as_uri(), str(tmp_path), "mlflow-artifacts:/../..", "s3://bucket/folder"):
        assert call(server, create, other, name=place, artifact_location=place).status_code == 400
    experiment = call(server, create, other, name="traced").json()
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": experiment}
    begun = {
        "trace_id": trace,
        "trace_location": location,
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
    }
    assert call(server, "/api/3.0/mlflow/traces", other, trace={"trace_info": begun}).is_success
    address = f"{server.url}/api/2.0/mlflow/traces/{trace}/tags"
    tag = {"key": "mlflow.artifactLocation", "value": tmp_path.as_uri()}
    assert httpx.patch(address, json=tag, auth=other, trust_env=False).is_success

    read = call(server, f"/ajax-api/2.0/mlflow/get-trace-artifact?request_id={trace}", other)
    assert (read.status_code, "only in its own store" in read.text) == (400, True)


def test_the_assistant_is_not_offered(server: Server, operator: Who) -> None:
    """It would run commands on this machine, for whoever signs in from it."""
    for path in ("config", "providers"):
        assert call(server, f"/ajax-api/3.0/mlflow/assistant/{path}", operator).status_code == 404


def test_artifacts_go_through_the_server(server: Server, operator: Who) -> None:
    experiment = call(server, "/api/2.0/mlflow/experiments/create", operator, name="artifacts").json()
    run = call(server, "/api/2.0/mlflow/runs/create", operator, **experiment).json()["run"]["info"]
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/") + "/note.txt"

    address = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{path}"
    assert plain_http.put(address, content=b"noted", trust_env=False).status_code == 401
    assert plain_http.put(address, content=b"noted", auth=operator, trust_env=False).is_success
    assert (server.folder / "mlflow" / "artifacts" / path).read_text() == "noted"


def test_a_page_elsewhere_cannot_call_it_by_another_name(server: Server, operator: Who) -> None:
    headers = {"Host": "rebound.example:5000"}
    assert plain_http.get(server.url + SEARCH, auth=operator, headers=headers).status_code == 403


def test_no_password_stands_where_others_look(server: Server) -> None:
    assert server.process
    kept = server.folder / "mlflow"
    secrets = [path.read_text().strip() for path in [*kept.glob("*.password"), kept / "flask.key"]]
    assert len(secrets) == 4
    for secret in secrets:
        assert mentioning(secret) == []
        assert secret not in server.log
    for path in [*kept.glob("*.password"), kept / "flask.key", kept / "basic_auth.ini"]:
        assert path.stat().st_mode & 0o777 == 0o600
    served = tree(server.process.pid)[-1]
    said = Path(f"/proc/{served.pid}/environ").read_text() if os.geteuid() == 0 else ""
    assert "DATABASE_URL" not in said
    assert "SLIPWAY_TOKEN" not in said


def test_its_role_reads_nothing_of_the_appliance(
    server: Server, postgres: Postgres, database_url: str
) -> None:
    password = (server.folder / "mlflow" / "database.password").read_text().strip()
    connection = psycopg2.connect(database_url, user=server.database, password=password)
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("SELECT * FROM releases")
    connection.close()


def test_a_second_start_keeps_all_and_says_a_password_changed(
    server: Server, operator: Who, appliance: Who
) -> None:
    changed = ("operator", "one of his own choice")
    call(server, "/api/2.0/mlflow/experiments/create", operator, name="kept")
    new = {"username": "operator", "password": changed[1]}
    address = f"{server.url}/api/2.0/mlflow/users/update-password"
    assert httpx.patch(address, json=new, auth=appliance, trust_env=False).is_success
    server.stop()
    server.start()
    assert server.appliance_password == appliance[1]
    for who in (changed, appliance):
        assert call(server, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=kept", who).is_success
    assert call(server, SEARCH, operator).status_code == 401
    assert "operator.password: to have a new one made, delete that file and start again" in server.log


def test_a_lost_home_gets_new_passwords(server: Server, operator: Who) -> None:
    server.stop()
    for path in (server.folder / "mlflow").glob("*.password"):
        path.unlink()
    server.start()
    assert call(server, SEARCH, operator).status_code == 401
    assert call(server, SEARCH, ("operator", server.operator_password)).is_success
    assert call(server, SEARCH, ("slipway", server.appliance_password)).is_success
