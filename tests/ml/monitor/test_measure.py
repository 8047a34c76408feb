"""What the monitor measures of live models, and what it makes of hostile rows, hidden fields and failures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session, sessionmaker

from db import monitor_results
from db.models import Release
from db.monitor_models import DriftWindow, MonitorState
from db.request_log_models import RecordedRequest
from ml.controller.monitoring import MonitorSchedule
from ml.monitor import measure_drift
from ml.monitor.__main__ import measure_due
from ml.monitor.drift.baseline import Source, make_baseline
from ml.monitor.drift.baseline_file import read_baseline, write_baseline
from ml.paths import HomeLayout
from ml.serving.request_log import erasure
from ml.settings import MlSettings
from tests.harness.recorded import record
from tests.ml.conftest import CACHE
from tests.ml.monitor.conftest import draw
from tests.ml.retraining.support import make_live

Sessions = sessionmaker[Session]
MODELS = """
[m]
repository = "acme/m"
[other]
repository = "acme/other"
"""


class Watched:
    """Models whose releases nobody built; the monitor measures them in this process, by its own role."""

    def __init__(self, sessions: Sessions, monitor: Sessions, settings: MlSettings) -> None:
        self.sessions, self.monitor, self.settings = sessions, monitor, settings
        self.home = HomeLayout(settings.home.absolute())

    def make_live(
        self, rows: list[Any] | None = None, model: str = "m", commit: str = "a" * 40, **facts: Any
    ) -> int:
        """Make a release live, with a baseline of these rows of its training data."""
        release = make_live(self.sessions, commit, model, **facts)
        with self.sessions.begin() as session:  # rows are recorded as if they were some seconds old
            earlier = text(
                "UPDATE deployments SET live_at = live_at - interval '1 hour' WHERE release_id = :id"
            )
            session.execute(earlier, {"id": release})
        if rows is not None:
            path = self.home.drift_baseline_path(model, release)
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = write_baseline(make_baseline(rows, [row["age"] * 2 for row in rows]), path)
            with self.sessions.begin() as session:
                found = session.get_one(Release, release)
                found.drift_baseline, found.drift_source = digest, Source.TRAINING
        return release

    def record(self, rows: list[Any], model: str = "m", **facts: Any) -> list[str]:
        answers = facts.pop("answers", None) or [row["age"] * 2 for row in rows]
        return record(self.sessions, model, *rows, answers=answers, **facts)

    def measure(self) -> list[DriftWindow]:
        """Measure what is due; return all windows."""
        measure_due(self.monitor, self.settings)
        return self.windows()

    def windows(self, model: str = "m") -> list[DriftWindow]:
        with self.sessions.begin() as session:
            of_model = select(DriftWindow).where(DriftWindow.model == model)
            return list(session.scalars(of_model.order_by(DriftWindow.id)))

    def state(self, model: str = "m") -> MonitorState:
        with self.sessions.begin() as session:
            return session.get_one(MonitorState, model)

    def release(self, number: int) -> Release:
        with self.sessions.begin() as session:
            return session.get_one(Release, number)


@pytest.fixture
def watched(
    sessions: Sessions,
    sessions_of: Callable[[str], Sessions],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Watched:
    models = tmp_path / "models.toml"
    models.write_text(MODELS)
    monkeypatch.setenv("SLIPWAY_MONITOR_ENVIRONMENT", str(CACHE / "monitor" / "environment"))
    monkeypatch.setenv("SLIPWAY_MODELS", str(models))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://")
    monkeypatch.setenv("SLIPWAY_MONITOR_SECONDS", "0.001")
    return Watched(sessions, sessions_of("watch"), MlSettings())  # type: ignore[call-arg]


def names_of(window: DriftWindow, status: str) -> set[str]:
    return {finding["name"] for finding in window.findings if finding["status"] == status}


def test_without_training_rows_the_first_requests_are_it(watched: Watched) -> None:
    """They are no rows of a window: those are newer."""
    release = watched.make_live()
    watched.record(draw(1, 999))
    [window] = watched.measure()
    assert (window.status, window.rows) == ("too few", 0)
    assert window.reason == (
        "there is no baseline yet: it is made of the first 1,000 recorded requests, and there are 999"
    )
    assert watched.release(release).drift_source is None

    watched.record(draw(2, 51))
    watched.measure()
    assert watched.release(release).drift_source == "requests"
    baseline, _ = read_baseline(watched.home.drift_baseline_path("m", release))
    assert (baseline.rows, [column.name for column in baseline.features]) == (1000, ["age", "plan"])
    assert (watched.windows()[-1].status, watched.windows()[-1].rows) == ("too few", 50)

    watched.record(draw(3, 500))
    window = watched.measure()[-1]
    assert (window.status, window.rows) == ("same", 550)


def test_features_without_names_are_one_value(watched: Watched) -> None:
    release = watched.make_live()
    watched.record([1.5 * number for number in range(1100)], answers=[1.0] * 1100)
    watched.measure()
    baseline, _ = read_baseline(watched.home.drift_baseline_path("m", release))
    assert ([column.name for column in baseline.features], baseline.has_columns) == (["features"], False)


def test_predictions_of_another_release_are_not_compared(watched: Watched) -> None:
    """Its features are."""
    first = watched.make_live(draw(1, 2000))
    assert first == 1
    watched.make_live(draw(1, 2000), commit="b" * 40)
    watched.record(draw(2, 500), answers=["else"] * 500)

    window = watched.measure()[0]

    assert (window.status, window.release_id) == ("same", 2)
    assert {finding["name"] for finding in window.findings} == {"age", "plan"}


@pytest.mark.parametrize(
    "features",
    [[40.0, "free"], 7, {"age": 10**40, "plan": ["free"] * 99}, {"age": "x" * 60_000}, {"else": {}}],
    ids=lambda value: str(value)[:20],
)
def test_hostile_rows_stop_no_measurement(watched: Watched, features: Any) -> None:
    watched.make_live(draw(1, 2000))
    watched.record(draw(2, 600))
    watched.record([features] * 3, answers=[None] * 3)
    assert watched.measure()[0].status == "same"
    assert watched.state().problem is None


def test_a_number_that_python_does_not_read_is_one(watched: Watched) -> None:
    watched.make_live(draw(1, 2000))
    watched.record(draw(2, 600))
    with watched.sessions.begin() as session:
        huge = text(
            "UPDATE requests SET features = jsonb_build_object('age', 1e5000) WHERE features ->> 'age' > '55'"
        )
        assert session.execute(huge).rowcount > 5  # type: ignore[attr-defined]
    assert watched.measure()[0].rows == 600
    assert watched.state().problem is None


def test_a_field_that_is_hidden_is_in_no_baseline(watched: Watched, tmp_path: Path) -> None:
    """It was made before the operator hid the field."""
    release = watched.make_live(draw(1, 2000))
    path = watched.home.drift_baseline_path("m", release)
    assert b"premium" not in path.read_bytes()
    assert b"basic" in path.read_bytes()
    (tmp_path / "models.toml").write_text(MODELS + '[m.record.fields]\nplan = "hash"\n')
    watched.settings = MlSettings()  # type: ignore[call-arg]
    watched.record([row | {"plan": "hmac:1"} for row in draw(2, 500)])

    window = watched.measure()[0]

    assert (window.status, {finding["name"] for finding in window.findings}) == (
        "same",
        {"age", "prediction"},
    )
    assert b"basic" not in path.read_bytes()
    assert watched.release(release).drift_baseline == read_baseline(path)[1]


def test_what_fails_is_said_and_holds_up_no_other(watched: Watched, lines: list[str]) -> None:
    """The folder of a release is a file."""
    release = watched.make_live(draw(1, 2000))
    watched.home.release_path(release).parent.mkdir(parents=True)
    watched.home.release_path(release).write_text("")
    watched.make_live(draw(1, 2000), "other")
    for model in ("m", "other"):
        watched.record(draw(2, 500), model)

    watched.measure()
    watched.measure()

    problem = watched.state().problem
    assert problem is not None
    assert problem.startswith("a bug of Slipway's: FileExistsError")
    assert len([line for line in lines if "could not be measured" in line]) == 1
    assert [window.status for window in watched.windows("other")] == ["same", "same"]
    assert (watched.state("other").problem, watched.state("other").began_at) == (None, None)


def test_one_that_was_cut_off_is_said_and_comes_last(watched: Watched) -> None:
    for model in ("m", "other"):
        watched.make_live(draw(1, 2000), model)
        watched.record(draw(2, 500), model)
    with watched.monitor.begin() as session:
        monitor_results.begin_measurement(session, "m", 1)  # and then it was killed
    with watched.monitor.begin() as session:
        assert monitor_results.begin_measurement(session, "m", 1).problem == monitor_results.CUT_OFF
    watched.measure()
    assert watched.state().checked_at > watched.state("other").checked_at  # type: ignore[operator]
    assert watched.state().problem is None


def test_another_live_release_begins_anew(watched: Watched) -> None:
    watched.make_live(draw(1, 2000))
    for seed in (2, 3):
        watched.record(draw(seed, 1100, shift=1.0))
        watched.measure()
    assert watched.state().drift_since is not None
    watched.make_live(draw(1, 2000), commit="b" * 40)
    watched.record(draw(4, 1100, shift=1.0))

    assert watched.measure()[-1].status == "suspected"

    assert (watched.state().release_id, watched.state().drift_since) == (2, None)


def test_it_is_due_when_there_is_something_new(watched: Watched) -> None:
    schedule = MonitorSchedule(watched.monitor, watched.settings.monitor_seconds)
    assert not schedule.is_due(["m", "other"])
    watched.make_live(draw(1, 2000))
    assert not MonitorSchedule(watched.monitor, 0.001).is_due(["m"])
    watched.record(draw(2, 300))
    assert MonitorSchedule(watched.monitor, 0.001).is_due(["m"])
    watched.measure()
    assert not MonitorSchedule(watched.monitor, 0.001).is_due(["m"])
    watched.record(draw(3, 1))
    assert not MonitorSchedule(watched.monitor, 900).is_due(["m"])
    assert MonitorSchedule(watched.monitor, 0.001).is_due(["m"])


def test_an_erasure_takes_baselines_of_requests_along(
    watched: Watched, sessions_of: Callable[[str], Sessions]
) -> None:
    """What drift was found stays, as statistics."""
    release = watched.make_live()
    watched.record([{"age": 1.0, "plan": "dana@example.com"}, *draw(1, 1099)])
    watched.measure()
    watched.record(draw(2, 300))
    watched.measure()
    path = watched.home.drift_baseline_path("m", release)
    assert b"dana@example.com" in path.read_bytes()
    with watched.sessions.begin() as session:
        window = session.get_one(DriftWindow, watched.windows()[-1].id)
        window.findings = [finding | {"labels": ["dana@example.com"]} for finding in window.findings]

    wanted = erasure.FieldValue("plan", "dana@example.com")
    erasure.erase_value(sessions_of("serve"), watched.home, "m", wanted, b"key")

    assert not path.exists()
    assert not watched.home.drift_thresholds_path(release).exists()
    assert watched.release(release).drift_source is None
    assert "dana" not in str([window.findings for window in watched.windows()])
    assert watched.windows()[-1].findings[0]["comparisons"]
    watched.record(draw(3, 1))
    watched.measure()
    assert watched.release(release).drift_source == "requests"
    assert b"dana@example.com" not in path.read_bytes()


def test_of_rows_erased_meanwhile_only_statistics_stay(watched: Watched) -> None:
    release = watched.release(watched.make_live(draw(1, 2000)))
    watched.record(draw(2, 300))
    with watched.monitor.begin() as session:
        monitor_results.begin_measurement(session, "m", release.id)
    drawn = measure_drift.draw_rows(watched.monitor, "m", None)
    finding = {"name": "plan", "status": "same", "labels": ["free"]}
    window = {
        **{"window": "day", "status": "same", "reason": "", "rows": 300, "calls": 300},
        **{"oldest": 1.0, "newest": 2.0, "columns": [finding]},
    }
    digest = watched.release(release.id).drift_baseline
    answer = {"windows": [window], "suspicion": {}, "baseline": {"digest": digest}}

    def save(**changes: Any) -> list[Any]:
        measure_drift.save_answer(watched.monitor, release, drawn, answer | changes)
        return watched.windows()[-1].findings

    assert save() == [finding]
    assert save(baseline={"digest": "of rows that were erased"}) == [{"name": "plan", "status": "same"}]
    with watched.sessions.begin() as session:
        session.execute(delete(RecordedRequest).where(RecordedRequest.id == drawn.keys[7].id))
    assert save() == [{"name": "plan", "status": "same"}]
