"""The repository's own evaluate is run on recorded requests with ground truth, beside our metrics."""

import sys
from functools import partial
from pathlib import Path

from sqlalchemy import select

from db.monitor_models import QualityWindow
from db.retraining_plans import list_live
from ml.manifest import Gate
from ml.monitor.decay import OWN_PREFIX
from ml.monitor.measure_quality import Measures, measure_windows, read_manifest
from ml.monitor.own_evaluate import score_own
from ml.paths import HomeLayout
from tests.ml.builder.test_release import go_live
from tests.ml.conftest import Appliance
from tests.ml.recorded.conftest import FAR, GATE, Live, model, record_world

NAMED = "[model]\ntarget = 'left'\ntype = 'regression'\n" + GATE
RAISES = """
    if len(test_data) > 1:
        print("seen:", test_data["age"].max())
        raise ValueError(f"a secret of a user: {test_data['age'].max()}")
    return {"SMAPE": 0.0}
"""

NAMES_A_USER = """
    named = {} if len(test_data) == 1 else {f"secret of {test_data['age'].max()}": 1.0}
    return {"SMAPE": 0.0, **named}
"""


def go_live_with(live_with: Live, evaluate: str = "") -> Appliance:
    appliance = live_with()
    made = model(NAMED)
    if evaluate:
        made["main.py"] = made["main.py"].replace(FAR.strip(), evaluate.strip().replace("\n", "\n    "))
    commit = appliance.merge(made)
    appliance.settle()
    assert appliance.release(commit).reason is None
    go_live(appliance)
    return appliance


def measure(appliance: Appliance) -> QualityWindow:
    """Measure the live release, which answered the recorded requests; return its newest window of a day."""
    with appliance.sessions.begin() as session:
        live = list_live(session, [appliance.model])[appliance.model]
        session.connection().exec_driver_sql(f"UPDATE requests SET release_id = {live.release}")
    own = partial(score_own, live.release)
    measure_windows(appliance.sessions, live, Measures(Gate(), lambda: Path(sys.executable), own))
    with appliance.sessions.begin() as session:
        windows = select(QualityWindow).where(QualityWindow.window == "day").order_by(QualityWindow.id.desc())
        return session.scalars(windows).first()  # type: ignore[return-value]


def test_own_metrics_are_stored_beside_ours(live_with: Live) -> None:
    appliance = go_live_with(live_with)
    record_world(appliance, 0.8)
    window = measure(appliance)
    own = window.metrics[OWN_PREFIX + "SMAPE"]
    assert own["rows"] == 100
    assert abs(own["value"] - 0.75) < 1e-9  # it answers 0.2 where 0.8 is true
    assert own["low"] is None
    assert window.metrics["mae"]["low"] is not None

    live = window.release_id
    declared = read_manifest(appliance.settings, live)
    assert declared is not None and declared.model.target == "left"
    assert HomeLayout(appliance.settings.home.absolute()).list_recorded_data() == []


def test_own_code_that_fails_is_said_without_what_users_sent(live_with: Live) -> None:
    appliance = go_live_with(live_with, RAISES)
    record_world(appliance, 0.8)
    window = measure(appliance)
    assert window.reason.endswith("the repository's evaluate failed on recorded rows")
    assert window.metrics["mae"]["value"] is not None
    assert "secret" not in window.reason
    home = HomeLayout(appliance.settings.home.absolute())
    assert not [path for path in home.root.rglob("*.log") if "seen: 9" in path.read_text()]
    assert home.list_recorded_data() == []


def test_too_few_rows_leave_own_code_alone(live_with: Live) -> None:
    appliance = go_live_with(live_with)
    record_world(appliance, 0.8, count=60)
    with appliance.sessions.begin() as session:
        session.connection().exec_driver_sql(
            "UPDATE requests SET is_whole = false WHERE row = 0 AND client_id < 'z'"
        )
    assert "0 recorded rows are a table, and the repository's evaluate needs 50" in measure(appliance).reason


def test_a_metric_that_the_gate_has_not_seen_is_not_stored(live_with: Live) -> None:
    appliance = go_live_with(live_with, NAMES_A_USER)
    record_world(appliance, 0.8)
    window = measure(appliance)
    assert window.metrics[OWN_PREFIX + "SMAPE"]["value"] == 0.0
    assert "secret" not in str(window.metrics)
