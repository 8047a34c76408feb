"""The appliance in containers: a merge goes live, and stays live when all but the volumes is made anew."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from ml.sandbox import uids
from tests.harness import plain_http
from tests.harness.waiting import wait_until
from tests.system.stack import SERVICES, Stack, engine

KEEPERS = {"watch", "serve"}  # what runs models
NEEDED = set(uids.NEEDED_CAPABILITIES)
MODEL = "encyclopedia-visits"
LONG = 300  # seconds: a machine that has never built the model's environment
LOGGING = """
from datetime import UTC, datetime
from pathlib import Path
from resources.demo.pull_requests import make_proposal
from resources.demo.repository import DemoRepository

now = datetime.now(UTC)
train = "    def train(self, train_data):\\n"
logs = train + "        import mlflow\\n        mlflow.log_metric('rows', len(train_data))\\n"
branch = make_proposal(3).branch
repository = DemoRepository(Path("/var/lib/slipway/demo/encyclopedia-visits.git"))
with repository.lock_exclusively(), repository.open_checkout(repository.path) as tree:
    repository.run_git(tree, "checkout", "--quiet", "-B", branch, "origin/main")
    with (tree / "requirements.txt").open("a") as file:
        file.write("mlflow-skinny==3.17.2\\n")
    (tree / "main.py").write_text(make_proposal(2).render_main().replace(train, logs))
    repository.commit_all(tree, "Log the rows", "ada", now)
    repository.run_git(tree, "push", "--quiet", "--force", "origin", branch)
    repository.run_git(tree, "checkout", "--quiet", "main")
    words = f"Merge pull request #3 from demo/{branch}"
    repository.run_git(tree, "merge", "--quiet", "--no-ff", "-m", words, branch, at=now)
    repository.run_git(tree, "push", "--quiet", "origin", "main")
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
    answer = plain_http.request(method, url, auth=("operator", password), trust_env=False, **given)
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
def test_containers_are_shut_in_and_crashed_ones_come_back(
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
def test_each_service_knows_its_own_role_of_postgres_alone(stack: Stack) -> None:
    stack.up()
    for service in ("vcs", "watch", "serve", "mlflow"):
        role = "mlflow" if service == "mlflow" else f"slipway_{service}"
        assert stack.inside(service, "ls", "/run/slipway") == "database-url"
        assert f"postgresql://{role}:" in stack.inside(service, "cat", "/run/slipway/database-url")
    supers = "SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolsuper AND rolcanlogin"
    assert sql(stack, supers) == "slipway"


@pytest.mark.timeout(1800)
def test_mlflow_needs_a_password_and_sleeps_where_it_is_unwanted(stack: Stack) -> None:
    stack.up()
    address = f"http://127.0.0.1:{stack.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    password = stack.inside("mlflow", "cat", "/var/lib/slipway/mlflow/operator.password")
    assert plain_http.get(address, trust_env=False).status_code == 401
    assert plain_http.get(address, auth=("operator", password), trust_env=False).is_success
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
    assert users_of_processes(stack, "serve") & set(range(uids.FIRST_UID, uids.FIRST_UID + uids.UID_COUNT))
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
def test_the_modules_of_an_environment_are_compiled(stack: Stack) -> None:
    """The Python of the images is a newer one than many who run the other tests have."""
    count = "find /var/lib/slipway/environments -path '*/site-packages/*' -name '*.py' | wc -l"
    modules = int(stack.inside("watch", "sh", "-c", count))
    compiled = int(stack.inside("watch", "sh", "-c", count.replace("'*.py'", "'*.pyc'")))
    assert modules > 1000
    assert compiled > 0.95 * modules


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
