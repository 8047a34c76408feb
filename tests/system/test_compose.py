"""The appliance in containers: a merge goes live, and stays live when all but the volumes is made anew."""

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ml.runner import users
from tests.support.waiting import wait_until
from tests.system.stack import SERVICES, Stack, engine

KEEPERS = {"watch", "serve"}  # what runs models
NEEDED = set(users.NEEDED)
MODEL = "encyclopedia-visits"
LONG = 300  # seconds: a machine that has never built the model's environment
LOGGING = """
from datetime import UTC, datetime
from pathlib import Path
from resources.demo.proposals import proposal
from resources.demo.repository import Repository

now = datetime.now(UTC)
train = "    def train(self, train_data):\\n"
logs = train + "        import mlflow\\n        mlflow.log_metric('rows', len(train_data))\\n"
repository, branch = Repository(Path("/var/lib/slipway/demo/encyclopedia-visits.git")), proposal(3).branch
with repository.alone(), repository.checkout(repository.path) as tree:
    repository.git(tree, "checkout", "--quiet", "-B", branch, "origin/main")
    with (tree / "requirements.txt").open("a") as file:
        file.write("mlflow-skinny==3.17.2\\n")
    (tree / "main.py").write_text(proposal(2).main().replace(train, logs))
    repository.commit(tree, "Log the rows", "ada", now)
    repository.git(tree, "push", "--quiet", "--force", "origin", branch)
    repository.git(tree, "checkout", "--quiet", "main")
    words = f"Merge pull request #3 from demo/{branch}"
    repository.git(tree, "merge", "--quiet", "--no-ff", "-m", words, branch, at=now)
    repository.git(tree, "push", "--quiet", "origin", "main")
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if not engine():
        pytest.skip("no Docker engine answers here: `docker info` fails")
    made = Stack(tmp_path_factory.mktemp("checkout"), f"slipway-test-{os.getpid()}")
    yield made
    made.remove()


def live(stack: Stack, *, pull_request: int) -> dict[str, Any]:
    """What is live, once that is this pull request's release."""

    def is_live() -> dict[str, Any]:
        found = stack.ask(stack.serve, "/")
        return found if found and found["pull_request"] == pull_request else {}

    return wait_until(is_live, LONG, f"pull request #{pull_request} is live")


def checkout(stack: Stack) -> dict[str, Any]:
    answer = stack.ask(stack.vcs, "/checkout", "POST")
    assert answer, "vcs does not answer a checkout"
    return answer


def mlflow(stack: Stack, method: str, call: str, **asked: Any) -> dict[str, Any]:
    """What MLflow's server answers the operator; nothing while it has no answer."""
    password = stack.inside("mlflow", "cat", "/var/lib/slipway/mlflow/operator.password")
    url = f"http://127.0.0.1:{stack.mlflow}/api/2.0/mlflow/{call}"
    given: dict[str, Any] = {"params": asked} if method == "GET" else {"json": asked}
    answer = httpx.request(method, url, auth=("operator", password), trust_env=False, **given)
    found: dict[str, Any] = answer.json() if answer.is_success else {}
    return found


def predicted_days(stack: Stack) -> int:
    answer = stack.ask(stack.serve, "/predict?num_days=7")
    assert answer, "serve does not answer a prediction"
    return len(answer["prediction"])


def built(stack: Stack) -> str:
    """Each stage that was ever run, and when: a second training would be one more."""
    return sql(stack, "SELECT release_id, name, outcome, started_at FROM stages ORDER BY id")


def sql(stack: Stack, query: str) -> str:
    """What Postgres answers its owner."""
    return stack.inside("db", "psql", "--username=slipway", "--no-align", "--tuples-only", "--command", query)


def rights(stack: Stack, service: str) -> set[int]:
    """The capabilities that any process in the container can have."""
    (line,) = stack.inside(service, "grep", "CapBnd", "/proc/self/status").splitlines()
    return {number for number in range(64) if int(line.split()[1], 16) >> number & 1}


def users_of_processes(stack: Stack, service: str) -> set[int]:
    return {
        int(line)
        for line in stack.inside(
            service, "sh", "-c", "stat -c %u /proc/[0-9]* 2>/dev/null || true"
        ).splitlines()
    }


def published(service: dict[str, Any]) -> set[tuple[str, int]]:
    return {
        (port["URL"], port["PublishedPort"]) for port in service["Publishers"] or () if port["PublishedPort"]
    }


def well(stack: Stack, service: str) -> bool:
    """Whether the engine has started it again, and it works."""
    restarts, health = stack.state(service, "{{.RestartCount}} {{.State.Health.Status}}").split()
    return restarts != "0" and health == "healthy"


@pytest.mark.timeout(1800)  # the images are built from nothing where they never were
def test_no_container_shows_the_database_or_has_more_rights_than_it_needs_and_a_crashed_one_comes_back(
    stack: Stack,
) -> None:
    stack.up()
    up = stack.services()
    assert sorted(up) == sorted(SERVICES)
    assert {name: published(service) for name, service in up.items() if published(service)} == {
        "vcs": {("127.0.0.1", stack.vcs)},
        "serve": {("127.0.0.1", stack.serve)},
        "mlflow": {("127.0.0.1", stack.mlflow)},
    }
    assert {name for name in SERVICES if stack.inside(name, "id", "-u") == "0"} == KEEPERS
    assert {name: rights(stack, name) for name in SERVICES} == {
        name: NEEDED if name in KEEPERS else set() for name in SERVICES
    }
    for service in SERVICES:
        assert "Read-only" in stack.inside(service, "sh", "-c", "touch /here 2>&1 || true")
    for service in KEEPERS:
        assert "a user of its own for each model" in stack.compose("logs", service)
    assert len(stack.inside("db", "cat", "/run/slipway/password")) == 48, "made at the first start"

    for service in SERVICES:
        stack.crash(service)
    wait_until(lambda: all(well(stack, service) for service in SERVICES), LONG, "each one is back")


@pytest.mark.timeout(1800)
def test_each_service_knows_no_other_role_of_postgres_than_its_own(stack: Stack) -> None:
    stack.up()
    for service in ("vcs", "watch", "serve", "mlflow"):
        role = "mlflow" if service == "mlflow" else f"slipway_{service}"
        assert stack.inside(service, "ls", "/run/slipway") == "database-url"
        assert f"postgresql://{role}:" in stack.inside(service, "cat", "/run/slipway/database-url")
    supers = "SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolsuper AND rolcanlogin"
    assert sql(stack, supers) == "slipway"


@pytest.mark.timeout(1800)
def test_mlflow_lets_in_who_has_a_password_and_sleeps_where_none_is_wanted(stack: Stack) -> None:
    stack.up()
    address = f"http://127.0.0.1:{stack.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    password = stack.inside("mlflow", "cat", "/var/lib/slipway/mlflow/operator.password")
    assert httpx.get(address, trust_env=False).status_code == 401
    assert httpx.get(address, auth=("operator", password), trust_env=False).is_success
    assert stack.inside("watch", "sh", "-c", 'cat "$MLFLOW_PASSWORD_PATH"')

    stack.environment["MLFLOW_TRACKING_URI"] = ""
    stack.up()
    assert stack.inside("watch", "sh", "-c", 'echo "$MLFLOW_TRACKING_URI$MLFLOW_PASSWORD_PATH"') == ""
    assert "sleep infinity" in stack.compose("top", "mlflow")
    del stack.environment["MLFLOW_TRACKING_URI"]


@pytest.mark.timeout(1800)
def test_a_merge_goes_live_and_outlives_its_containers(stack: Stack) -> None:
    stack.up()
    assert checkout(stack)["newest_merge"]["number"] == 1
    live(stack, pull_request=1)
    assert predicted_days(stack) == 7

    stack.inside("demo", "slipway", "demo", "merge", "--no-wait")
    assert checkout(stack)["newest_merge"]["number"] == 2
    before = live(stack, pull_request=2)
    assert users_of_processes(stack, "serve") & set(range(users.FIRST, users.FIRST + users.COUNT))
    stages = built(stack)
    assert "|train|done|" in stages

    stack.compose("down")
    with (stack.folder / "ml/__init__.py").open("a") as code:
        code.write("# so that the image is another one\n")
    stack.up()

    assert live(stack, pull_request=2)["commit"] == before["commit"]
    assert predicted_days(stack) == 7
    checkout(stack)
    assert built(stack) == stages, "what was live is not built again"

    stack.inside("demo", "slipway", "demo", "merge", "--number", "4")  # it cannot even train
    assert live(stack, pull_request=2)["commit"] == before["commit"]
    assert predicted_days(stack) == 7


@pytest.mark.timeout(1800)
def test_mlflow_hears_of_a_release_and_what_its_training_logs(stack: Stack) -> None:
    """Another merge, of a model that logs by itself, from the network of its own that a training has."""
    stack.up()
    stack.inside("demo", "python", "-c", LOGGING)
    stack.compose("restart", "demo")  # it reads what is merged from git when it starts
    wait_until(lambda: checkout(stack)["newest_merge"]["number"] == 3, LONG, "the merge is seen")
    release = live(stack, pull_request=3)["release"]

    def told() -> bool:
        prod = mlflow(stack, "GET", "registered-models/alias", name=MODEL, alias="prod")
        tags = prod.get("model_version", {}).get("tags", [])
        return {"key": "slipway.release", "value": str(release)} in tags

    wait_until(told, LONG, "MLflow's prod is what is live")
    experiment = mlflow(stack, "GET", "experiments/get-by-name", experiment_name=MODEL)["experiment"]
    runs = mlflow(stack, "POST", "runs/search", experiment_ids=[experiment["experiment_id"]])["runs"]
    rows = [metric for run in runs for metric in run["data"].get("metrics", ()) if metric["key"] == "rows"]
    assert len(rows) == 1
    assert rows[0]["value"] > 0
