"""What MLflow hears of releases: runs, versions, aliases; and how it hears of what it has missed."""

from collections.abc import Callable

from db import mlflow_state
from db.mlflow_state import AliasVersions
from db.states import Status
from ml.paths import HomeLayout
from tests.harness.waiting import free_port, wait_until
from tests.ml.mlflow_sync.conftest import Tracked, number
from tests.ml.serving.support import Shop
from tests.models import working

GATE = "[gate]\nSMAPE = { better = 'lower', may_worsen_by = '5%' }\n"


def test_three_merges_are_three_runs_and_prod_is_on_the_live_one(tracked: Tracked) -> None:
    first = tracked.live({**working.quick(smape=0.20), "slipway.toml": GATE})
    tracked.appliance.merge(working.quick(smape=0.30))
    tracked.appliance.settle()
    third = tracked.live(working.quick(smape=0.10))
    tracked.told()

    runs = tracked.runs()
    assert [run.info.status for run in runs] == ["FINISHED", "FAILED", "FINISHED"]
    assert [run.data.metrics["SMAPE"] for run in runs] == [0.20, 0.30, 0.10]
    assert "release 1 has 0.200" in runs[1].data.tags["slipway.reason"]
    tags, params = runs[2].data.tags, runs[2].data.params
    assert tags["mlflow.source.git.commit"] == third.commit
    assert (tags["slipway.pull_request"], tags["slipway.trigger"]) == ("3", "merge")
    assert params["environment"] == third.environment
    assert third.data is not None
    assert params["data/train"] == third.data["train"]["sha256"]
    assert runs[2].data.metrics["seconds/train"] > 0
    kept = {file.path for file in tracked.client.list_artifacts(runs[2].info.run_id)}
    assert kept == {"logs", "slipway.toml", "requirements.lock"}

    versions = {int(v.version): v for v in tracked.client.search_model_versions(f"name = '{tracked.model}'")}
    assert {int(v.tags["slipway.release"]) for v in versions.values()} == {first.id, third.id}
    prod, previous = tracked.at("prod"), tracked.at("previous")
    assert prod is not None
    assert previous is not None
    assert (prod.tags["slipway.release"], previous.tags["slipway.release"]) == (str(third.id), str(first.id))
    assert prod.run_id == runs[2].info.run_id
    shown = [output.model_id for run in runs if run.outputs for output in run.outputs.model_outputs]
    assert str(prod.source).removeprefix("models:/") in shown
    assert len(shown) == len(versions) == 2


def test_mlflow_is_told_later_in_order_and_once_after_an_outage(tracked: Tracked) -> None:
    """It comes back with a `prod` that is older than what is live, which is no promotion."""
    first = tracked.live(working.quick(smape=0.25))
    tracked.told()
    tracked.server.stop()
    try:
        second = tracked.live(working.quick(smape=0.20))
        third = tracked.live(working.quick(smape=0.15))
        assert (second.status, third.status) == (Status.DEPLOYED, Status.DEPLOYED)
    finally:
        tracked.server.start()
    tracked.told()

    assert [number(run) for run in tracked.runs()] == [first.id, second.id, third.id]
    prod, previous = tracked.at("prod"), tracked.at("previous")
    assert prod is not None
    assert previous is not None
    assert (prod.tags["slipway.release"], previous.tags["slipway.release"]) == (str(third.id), str(second.id))
    versions = tracked.client.search_model_versions(f"name = '{tracked.model}'")
    assert sorted(int(v.tags["slipway.release"]) for v in versions) == [first.id, second.id, third.id]
    assert [decision.cause for decision in tracked.decisions()] == ["gate", "gate", "gate"]
    # of users that were there already
    assert "password_hash" not in (tracked.server.postgres.home / "log").read_text()


def test_pages_link_a_release_to_mlflow_and_say_when_it_is_away(
    make_tracked: Callable[..., Tracked],
) -> None:
    """A server that nobody hears: the release goes on, and the overview says what is wrong."""
    tracked = make_tracked(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    release = tracked.live(working.quick())
    appliance = tracked.appliance
    with Shop(appliance.serving, appliance.sessions, appliance.repository).serving() as shop:
        page = {"accept": "text/html"}
        wait_until(lambda: "are exported later" in shop.get("/", **page).text, 60, "the overview says it")

        with appliance.sessions.begin() as session:
            mlflow_state.ensure_run(session, release.id)
            mlflow_state.record_facts(session, release.id, experiment="7", run="abc", version=3)
            mlflow_state.save_aliases(
                session, tracked.model, AliasVersions(3, None), sent=True, refused="version 9: never heard of"
            )
        document = shop.get(f"/releases/{release.id}").json()
        known = {"experiment": "7", "run": "abc", "version": 3, "told_at": None, "trouble": None}
        assert document["mlflow"] == known
        said = shop.get(f"/releases/{release.id}", **page).text
        assert f"/#/models/{tracked.model}/versions/3" in said
        assert "/#/experiments/7/runs/abc" in said
        assert "moved back: version 9: never heard of" in shop.get("/", **page).text


def test_what_mlflow_refuses_keeps_no_release_from_being_told(tracked: Tracked) -> None:
    """A metric by a name that MLflow does not take; a version, and a run, that somebody deletes there."""
    odd = working.quick()
    odd["main.py"] = odd["main.py"].replace("{'SMAPE'", "{'a//b': 1.0, 'SMAPE'")
    tracked.live(odd)
    tracked.told()
    [run] = tracked.runs()
    assert run.info.status == "FINISHED"
    assert tracked.client.list_artifacts(run.info.run_id)
    assert tracked.at("prod") is not None

    tracked.client.delete_registered_model(tracked.model)
    tracked.client.delete_run(run.info.run_id)
    tracked.live({**working.quick(smape=0.20), "slipway.toml": "[gate]\nSMAPE = { max = 0.3 }\n"})
    tracked.told()
    prod = tracked.at("prod")
    assert prod is not None
    assert (prod.version, prod.tags["slipway.release"]) in ((1, "2"), ("1", "2"))
    assert tracked.at("previous") is None


def test_what_could_not_be_told_is_said_and_told_later(tracked: Tracked) -> None:
    """A disk that takes no files: the release is live, its page says why, and MLflow hears of it at last."""
    home = HomeLayout(tracked.appliance.settings.home)
    home.root.mkdir(parents=True, exist_ok=True)
    home.tracking.write_text("in the way")
    release = tracked.live(working.quick())
    appliance = tracked.appliance

    def page() -> str:
        appliance.look()
        return shop.get(f"/releases/{release.id}", accept="text/html").text

    with Shop(appliance.serving, appliance.sessions, appliance.repository).serving() as shop:
        wait_until(lambda: "MLflow gets this release later: FileExistsError" in page(), 60, "it is said")
        home.tracking.unlink()
        with appliance.sessions.begin() as session:
            mlflow_state.record_facts(session, release.id, due_at=None)
        tracked.told()
        assert "MLflow will be told" not in page()
    assert tracked.at("prod") is not None
