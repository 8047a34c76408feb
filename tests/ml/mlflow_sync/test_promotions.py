"""Who moves the alias `prod` in MLflow promotes a release; what cannot be followed is put back, and said."""

import re
from collections.abc import Callable

import pytest

from db import mlflow_state
from db.listener import NotificationListener
from db.mlflow_state import AliasVersions
from db.states import Cause, DeploymentState, Status
from tests.harness import plain_http
from tests.harness.waiting import wait_until
from tests.ml.mlflow_sync.conftest import Tracked
from tests.ml.serving.support import Shop
from tests.ml.web.api.conftest import operators
from tests.models import working

MANUAL = '[release]\npromote = "manual"\n'


@pytest.fixture
def two(tracked: Tracked) -> Tracked:
    """Version 1 was live, version 2 is."""
    for smape in (0.25, 0.20):
        tracked.live(working.quick(smape=smape))
    tracked.told()
    return tracked


def promoted(tracked: Tracked) -> bool:
    return tracked.decisions()[0].cause is Cause.PROMOTION


def prod(tracked: Tracked) -> int | None:
    found = tracked.at("prod")
    return int(found.version) if found else None


def refused(tracked: Tracked) -> str | None:
    with tracked.appliance.sessions.begin() as session:
        known = mlflow_state.find_alias(session, tracked.model)
        return known.refused if known else None


def test_a_moved_alias_deploys_the_release_of_its_version(two: Tracked) -> None:
    two.move(1)
    wait_until(lambda: promoted(two), 30, "it is promoted")
    decision = two.decisions()[0]
    assert (decision.release_id, decision.state, decision.who) == (1, DeploymentState.WANTED, "MLflow")
    assert decision.why == "version 1 was given the alias prod in MLflow"
    two.go_live()
    two.told()
    assert prod(two) == 1
    previous = two.at("previous")
    assert previous is not None
    assert int(previous.version) == 2
    assert len(two.decisions()) == 3


def test_a_foreign_version_is_refused_and_the_alias_moved_back(two: Tracked) -> None:
    run = two.runs()[0].info
    foreign = two.client.create_model_version(
        two.model, f"{run.artifact_uri}/logs", run.run_id, await_creation_for=0
    )
    two.move(foreign.version)
    wait_until(lambda: prod(two) == 2, 30, "prod is moved back")
    assert refused(two) == "version 3 was not made by this appliance"
    assert not promoted(two)


def test_a_removed_alias_is_put_back(two: Tracked) -> None:
    two.client.delete_registered_model_alias(two.model, "prod")
    wait_until(lambda: prod(two) == 2, 30, "prod is put back")
    assert not promoted(two)


def test_the_alias_is_moved_back_when_the_release_cannot_start(two: Tracked) -> None:
    two.move(1)
    wait_until(lambda: promoted(two), 30, "it is promoted")
    two.go_live(reason="the model could not be loaded")
    wait_until(lambda: prod(two) == 2, 30, "prod is moved back")
    assert [decision.cause for decision in two.decisions()].count(Cause.PROMOTION) == 1


def test_promote_manual_waits_for_the_alias(make_tracked: Callable[..., Tracked]) -> None:
    tracked = make_tracked()
    tracked.live(working.quick())
    commit = tracked.appliance.merge({**working.quick(smape=0.20), "slipway.toml": MANUAL})
    tracked.appliance.settle()
    tracked.told()
    assert tracked.appliance.release(commit).status is Status.PASSED
    assert prod(tracked) == 1

    tracked.move(2)
    wait_until(lambda: promoted(tracked), 30, "it is promoted")
    assert tracked.appliance.wanted() == tracked.appliance.release(commit).id
    assert tracked.appliance.release(commit).status is Status.DEPLOYED
    tracked.go_live()
    tracked.told()
    assert tracked.runs()[-1].data.tags["slipway.status"] == "deployed"


def test_an_unsent_alias_is_sent_and_is_no_promotion(two: Tracked) -> None:
    """As a kill between the two leaves it."""
    with two.appliance.sessions.begin() as session:
        mlflow_state.save_aliases(session, two.model, AliasVersions(2, 1), sent=False)
    two.move(1)
    wait_until(lambda: prod(two) == 2, 30, "prod is sent")
    assert not promoted(two)


def test_reload_model_wakes_who_looks_where_prod_is(tracked: Tracked) -> None:
    appliance = tracked.appliance
    wakeup = NotificationListener(appliance.settings.database_url, "tracking")
    shop = Shop(appliance.serving, appliance.sessions, appliance.repository)
    with shop.serving(), operators(shop) as post:
        assert wakeup.wait(10)  # connected
        assert plain_http.post(f"{shop.url}/reload-model", trust_env=False).status_code == 401
        assert not wakeup.wait(0.2)
        answer = post("/reload-model")
        assert answer.status_code == 202, answer.text
        where = re.search(r"/models/\S+", answer.json()["detail"])
        assert where is not None
        assert shop.get(where.group()).json()["deployments"] == []
        assert wakeup.wait(10)
    wakeup.close()


def test_a_second_move_of_prod_while_the_first_starts_counts(two: Tracked) -> None:
    third = two.live(working.quick(smape=0.15))
    two.told()
    two.move(1)
    wait_until(lambda: promoted(two), 30, "it is promoted")
    two.move(2)
    two.go_live()
    wait_until(lambda: two.decisions()[0].release_id == 2, 30, "the second one is promoted, too")
    assert [decision.release_id for decision in two.decisions()[:3]] == [2, 1, third.id]


def test_foreign_aliases_are_left_alone_while_nothing_is_live(tracked: Tracked) -> None:
    run = tracked.client.create_run(tracked.client.create_experiment(f"{tracked.model} of others")).info
    tracked.client.create_registered_model(tracked.model)
    source = f"{run.artifact_uri}/model"
    tracked.client.create_model_version(tracked.model, source, run.run_id, await_creation_for=0)
    tracked.move(1)
    tracked.appliance.lookout.reconcile()
    wait_until(lambda: refused(tracked), 30, "the version is seen")
    assert prod(tracked) == 1
    assert tracked.decisions() == []
