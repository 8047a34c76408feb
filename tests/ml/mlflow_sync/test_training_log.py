"""What the model's own code may do in MLflow while it trains: log below its release's run, no more."""

import re
from collections.abc import Callable

import pytest
from mlflow.version import VERSION

from db import release_queue
from db.models import Release
from db.states import Status
from tests.harness import plain_http
from tests.harness.waiting import wait_until
from tests.ml.controller.test_crash import kill_builder
from tests.ml.mlflow_sync.conftest import Tracked
from tests.models import files

# pandas, since data come as DataFrames; a client of MLflow, as a data scientist adds it
REQUIREMENTS = f"pandas\nmlflow-skinny=={VERSION}\n"
LOGS = """
    import mlflow
    with mlflow.start_run(run_name="mine"):
        mlflow.log_param("depth", 3)
        mlflow.log_metric("loss", 0.5)
"""
TRIES = """
    import os
    from mlflow import MlflowClient
    client, model = MlflowClient(), os.environ["MLFLOW_EXPERIMENT_NAME"]
    attempts = {
        "alias": lambda: client.set_registered_model_alias(model, "prod", "1"),
        "version": lambda: client.delete_model_version(model, "1"),
        "run": lambda: client.delete_run("OTHER"),
        "experiment": lambda: client.create_experiment("of another model"),
        "name": lambda: client.create_registered_model("another-model"),
        "webhook": lambda: client.create_webhook("w", "https://example.com", ["registered_model.created"]),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
            print(name, "was allowed")
        except Exception as error:
            print(name, "was refused:", getattr(error, "error_code", ""))
"""
SHOWS = """
    import os
    from mlflow import MlflowClient
    MlflowClient().get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    print("let in with", os.environ["MLFLOW_TRACKING_PASSWORD"], flush=True)
"""
HANGS = SHOWS + "    import time; time.sleep(600)\n"
WAITS = """
    import time
    import mlflow
    mlflow.start_run()
    if mlflow.get_tracking_uri().startswith("http"):
        print("waiting for MLflow to end", flush=True)
        time.sleep(5)
    mlflow.log_metric("loss", 0.5)
"""
TRAINED = "    return pickle.dumps(20.0)\n"


def logging(body: str) -> dict[str, str]:
    return {**files(train=body + TRAINED), "requirements.txt": REQUIREMENTS}


def test_what_train_logs_lands_in_a_run_below_its_releases(tracked: Tracked) -> None:
    release = tracked.live(logging(LOGS))
    tracked.told()

    [of_release] = tracked.runs()
    [own] = [run for run in tracked.every_run() if run.info.run_id != of_release.info.run_id]
    assert own.data.tags["mlflow.parentRunId"] == of_release.info.run_id
    assert (own.info.run_name, own.data.metrics, own.data.params) == ("mine", {"loss": 0.5}, {"depth": "3"})
    assert (of_release.info.status, own.info.status) == ("FINISHED", "FINISHED")
    assert release.status is Status.DEPLOYED


def test_model_code_changes_nothing_of_others_in_mlflow(
    make_tracked: Callable[..., Tracked],
) -> None:
    tracked = make_tracked()
    experiment = tracked.client.create_experiment(f"of others than {tracked.model}")
    other = tracked.client.create_run(experiment).info.run_id
    tracked.live(logging(LOGS))
    tracked.told()
    commit = tracked.appliance.merge(logging(TRIES.replace("OTHER", other)))
    tracked.appliance.settle()

    said = tracked.appliance.log(tracked.appliance.release(commit), "train")
    for name in ("alias", "version", "run", "experiment", "name", "webhook"):
        assert f"{name} was refused: PERMISSION_DENIED" in said
    assert tracked.client.get_run(other).info.lifecycle_stage == "active"


def test_a_commit_that_registers_by_itself_is_told_who_does(tracked: Tracked) -> None:
    registers = "    from mlflow import MlflowClient\n    MlflowClient().create_registered_model('mine')\n"
    commit = tracked.appliance.merge(logging(registers + TRAINED))
    tracked.appliance.settle()

    release = tracked.appliance.release(commit)
    assert release.status is Status.REJECTED
    assert "leave that out. Slipway registers what train() returns" in (release.reason or "")


def password(tracked: Tracked, release: Release) -> str:
    """The password that a training was let in with, as its code read it."""
    found = re.findall("let in with (.+)", tracked.appliance.log(release, "train"))
    assert len(found) == 1
    return str(found[0])


def is_let_in(tracked: Tracked, password: str) -> bool:
    url = f"{tracked.server.url}/api/2.0/mlflow/experiments/get-by-name?experiment_name={tracked.model}"
    answer = plain_http.get(url, auth=(f"model-{tracked.model}", password), timeout=30, trust_env=False)
    # MLflow answers 500 while the password is being changed: that one is not void yet
    assert answer.status_code in (200, 401, 500), answer.text
    return answer.status_code != 401


def test_each_training_has_a_password_that_is_void_after_it(tracked: Tracked) -> None:
    first, second = tracked.live(logging(SHOWS)), tracked.live(logging(SHOWS + "    # again\n"))
    passwords = [password(tracked, release) for release in (first, second)]

    assert len(set(passwords)) == 2
    assert [is_let_in(tracked, each) for each in passwords] == [False, False]


@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_the_password_of_a_training_cut_off_becomes_void(how: str, tracked: Tracked) -> None:
    tracked.appliance.merge(logging(HANGS))
    building = tracked.appliance.wait_for_stage("train")
    log = tracked.appliance.settings.home / f"releases/{building.id}/logs/train.log"
    wait_until(
        lambda: log.exists() and re.search("let in with .+\n", log.read_text()), 60, "train() was let in"
    )
    known = password(tracked, building)
    assert is_let_in(tracked, known)

    with tracked.appliance.sessions.begin() as session:
        if how == "killed":
            kill_builder(tracked.appliance)
        release_queue.cancel(session, building.id, "a test")

    def is_void() -> bool:
        tracked.appliance.look()
        return not is_let_in(tracked, known)

    wait_until(is_void, 60, "the password is void")


def test_code_that_logs_trains_as_well_without_mlflow(make_tracked: Callable[..., Tracked]) -> None:
    off = make_tracked(MLFLOW_TRACKING_URI="")
    release = off.live(logging(LOGS))
    assert release.status is Status.DEPLOYED
    log = off.appliance.log(release, "train")
    assert "MLflow is off: what train() logs to it goes into temporary files" in log


def test_mlflow_going_away_while_train_logs_fails_no_release(tracked: Tracked) -> None:
    commit = tracked.appliance.merge(logging(WAITS))
    building = tracked.appliance.wait_for_stage("train")
    log = tracked.appliance.settings.home / f"releases/{building.id}/logs/train.log"
    wait_until(lambda: log.exists() and "waiting for" in log.read_text(), 60, "train() has a run")
    tracked.server.stop()
    try:
        tracked.appliance.settle()
    finally:
        tracked.server.start()
    release = tracked.appliance.release(commit)
    assert release.status is Status.DEPLOYED, release.reason
    written = tracked.appliance.log(release, "train")
    assert "MLflow became unavailable while train() was logging to it" in written
