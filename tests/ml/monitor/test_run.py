"""The monitor measures what is live, in a process of its own, and what it finds leads to something."""

from collections.abc import Callable

from sqlalchemy import select, update

from db.models import Appliance as ApplianceRow
from db.notification_models import Notification
from db.states import RetrainingState, Trigger
from tests.ml.monitor.conftest import Monitored, draw

Make = Callable[..., Monitored]


def tell_people(monitored: Monitored) -> None:
    with monitored.appliance.sessions.begin() as session:
        session.merge(ApplianceRow(id=1, mode="repository"))
        session.flush()
        session.execute(update(ApplianceRow).values(has_notifications=True))


def list_told(monitored: Monitored) -> list[str]:
    with monitored.appliance.sessions.begin() as session:
        return list(session.scalars(select(Notification.event).order_by(Notification.event)))


def test_a_changed_world_is_found_told_and_suggested(monitored: Make) -> None:
    model = monitored("[retrain]\ndrift = true\n")
    tell_people(model)
    release = model.appliance.releases()[0]
    assert (release.drift_source, model.windows()) == ("training", [])

    model.record(draw(3, 1100, shift=1.0))
    model.run()
    assert {window.status for window in model.windows()} == {"suspected"}
    assert (model.state().drift_since, model.retrainings(), list_told(model)) == (None, [], [])

    model.record(draw(4, 1100, shift=1.0))
    model.run()
    newest = [window for window in model.windows() if window.window == "newest"][-1]
    assert newest.status == "drift"
    drifting = {one["name"] for one in newest.findings if one["status"] == "drift"}
    assert drifting == {"age", "prediction"}
    [suggested] = model.retrainings()
    assert (suggested.state, suggested.trigger) == (RetrainingState.SUGGESTED, Trigger.DRIFT)
    assert suggested.reason.startswith("the requests have changed: ")
    assert list_told(model) == ["model.drift"]

    model.record(draw(5, 1100, shift=1.0))
    model.run()
    assert len(model.retrainings()) == 1
