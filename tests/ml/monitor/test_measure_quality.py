"""Rows with ground truth become windows of quality, by release, in a real Postgres."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, func, insert, select
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.query_plans import with_children
from db import quality_rows, request_log
from db.ground_truth_models import GroundTruth
from db.monitor_models import MonitorState, QualityWindow
from db.quality_rows import QualityPeriod
from db.retraining_plans import list_live
from ml.manifest import Gate
from ml.monitor.measure_quality import Measures, measure_windows
from ml.monitor.program import MeasurementError
from tests.harness.recorded import make_row
from tests.ml.retraining.support import make_live

Sessions = sessionmaker[Session]
Answered = list[tuple[Any, Any]]  # answers and their truths
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
GATE = Gate.model_validate({"MAE": {"may_worsen_by": "10%"}})


@pytest.fixture
def recorded(sessions: Sessions) -> Sessions:
    """The log has partitions of the last 31 days."""
    with sessions.begin() as session:
        for days in range(32):
            session.execute(select(func.create_request_partition(NOW.date() - timedelta(days=days))))
    return sessions


def record(
    sessions: Sessions, release: int, answered: Answered, *, ago: timedelta = HOUR, **facts: Any
) -> None:
    """Record calls of one row, as if `ago`, and the ground truth of those that have one."""
    source, model = facts.pop("source", "person"), facts.pop("model", "m")
    rows = [
        make_row(
            model,
            {"x": 1},
            at=NOW - ago + timedelta(milliseconds=place),
            answer=json.dumps(answer),
            **{"release_id": release, **facts},
        )
        for place, (answer, _) in enumerate(answered)
    ]
    with sessions.begin() as session:
        request_log.record_batch(session, rows)
        values = [
            {"id": row["id"], "row": 0, "at": row["at"], "model": model, "value": truth, "source": source}
            for row, (_, truth) in zip(rows, answered, strict=True)
            if truth is not None
        ]
        if values:
            session.connection().execute(insert(GroundTruth), values)


def measure(sessions: Sessions, gate: Gate | None = GATE, python: str = sys.executable) -> str | None:
    with sessions.begin() as session:
        live = list_live(session, ["m"])["m"]
    return measure_windows(sessions, live, Measures(gate, lambda: Path(python)))


def read_windows(sessions: Sessions) -> dict[tuple[int, str], QualityWindow]:
    """Return the newest windows by release and name."""
    with sessions.begin() as session:
        return {
            (one.release_id, one.window): one
            for one in session.scalars(select(QualityWindow).order_by(QualityWindow.id))
        }


def errors_of(size: float, count: int = 100, seed: int = 0) -> Answered:
    """Return answers whose mean absolute error is about `size`."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(100, 10, count)
    return [
        (float(value + error), float(value))
        for value, error in zip(truth, draw.normal(0, size / 0.8, count), strict=True)
    ]


def test_each_release_is_measured_in_each_window(
    recorded: Sessions, sessions_of: Callable[[str], Sessions]
) -> None:
    old = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    live = make_live(recorded, "b" * 40, kind="regression", metrics={"MAE": 1.0})
    record(recorded, live, errors_of(1.0))
    record(recorded, live, [(1.0, None)] * 300)
    record(recorded, live, errors_of(1.0), ago=timedelta(days=3))
    record(recorded, old, errors_of(1.0), ago=timedelta(days=20))

    assert measure(sessions_of("watch")) is None  # with the rights of the service
    found = read_windows(recorded)
    assert found.keys() == {(live, "day"), (live, "week"), (live, "month"), (old, "month")}
    day, week, old_month = found[live, "day"], found[live, "week"], found[old, "month"]
    assert (day.rows, day.recorded, day.status, day.reason) == (100, 400, "same", "")
    assert (week.rows, week.recorded) == (200, 500)
    assert (old_month.rows, old_month.recorded, old_month.kind) == (100, 100, "regression")
    answers, truth = np.array(errors_of(1.0)).T
    assert day.metrics["mae"]["value"] == pytest.approx(np.abs(answers - truth).mean())
    assert day.metrics["mae"]["low"] < day.metrics["mae"]["value"] < day.metrics["mae"]["high"]


def test_only_the_live_release_is_judged(recorded: Sessions) -> None:
    old = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    live = make_live(recorded, "b" * 40, kind="regression", metrics={"MAE": 1.0})
    for release in (old, live):
        record(recorded, release, errors_of(3.0))

    assert measure(recorded) is not None
    found = read_windows(recorded)
    assert (found[live, "day"].status, found[old, "day"].status) == ("decay", "same")
    assert found[old, "day"].metrics["mae"]["value"] > 1


def test_what_is_no_truth_of_an_answer_is_left_out(recorded: Sessions) -> None:
    live = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    record(recorded, live, errors_of(1.0, 60))
    record(recorded, live, errors_of(9.0, 60), source="model")
    record(recorded, live, errors_of(9.0, 60), error="ValueError")
    record(recorded, live, errors_of(9.0, 60), model="other")
    record(recorded, live, errors_of(9.0, 60), ago=timedelta(days=31))

    measure(recorded)
    day = read_windows(recorded)[live, "day"]
    assert (day.rows, day.recorded) == (60, 120)  # the errors are no answers
    assert day.metrics["mae"]["value"] < 2


def test_decay_lasts_until_a_window_shows_none(recorded: Sessions) -> None:
    live = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    record(recorded, live, errors_of(1.5))
    reason = measure(recorded)
    assert reason is not None
    assert reason.startswith("in the last day: MAE 1.")
    assert f"release {live} had 1.000 at its gate (may worsen by 10%)" in reason
    assert reason.endswith("on 100 rows with ground truth, 100.0% of those recorded")

    with recorded.begin() as session:  # as the monitor stores it
        session.add(
            MonitorState(model="m", release_id=live, suspicion={}, decay_since=NOW, decay_reason="it was")
        )
        session.query(GroundTruth).delete()
    assert measure(recorded).startswith("in the last week: ")  # type: ignore[union-attr]  # not due yet
    with recorded.begin() as session:
        session.query(QualityWindow).delete()
    assert measure(recorded) == "it was"  # too few rows change nothing

    record(recorded, live, errors_of(1.0))
    assert measure(recorded) is None
    assert make_live(recorded, "b" * 40) and measure(recorded) is None  # of another release


def test_an_interval_that_reaches_what_is_allowed_is_no_decay(recorded: Sessions) -> None:
    live = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    record(recorded, live, errors_of(1.2, 60))
    assert measure(recorded) is None
    metric = read_windows(recorded)[live, "day"].metrics["mae"]
    assert metric["low"] < 1.1 < metric["value"]


def test_too_little_coverage_judges_nothing(recorded: Sessions) -> None:
    live = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    record(recorded, live, errors_of(5.0, 60))
    record(recorded, live, [(1.0, None)] * 6000)
    assert measure(recorded) is None
    day = read_windows(recorded)[live, "day"]
    assert (day.status, day.reason) == (
        "too few",
        "0.99% of the answered rows have ground truth, and 1% are needed",
    )


def test_rows_without_any_truth_start_no_process(recorded: Sessions) -> None:
    live = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    record(recorded, live, [(1.0, None)] * 100)
    assert measure(recorded, python="/none") is None
    assert read_windows(recorded) == {}


def test_hostile_values_from_the_log_are_measured(recorded: Sessions) -> None:
    live = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    hostile = ["x\n\u2028", None, [[]], {"a": "\ud7ff"}, True, 2**70, 1e308]
    record(
        recorded,
        live,
        [*errors_of(1.0, 60), *((answer, 1.0) for answer in hostile), *((1.0, v) for v in hostile)],
    )
    with recorded.begin() as session:
        session.connection().exec_driver_sql(
            "UPDATE ground_truth SET value = '1e400' WHERE value = '1180591620717411303424'"
        )
    measure(recorded)
    day = read_windows(recorded)[live, "day"]
    assert "rows could not be compared with their ground truth" in day.reason
    assert day.metrics["mae"]["value"] > 1e90


def test_a_process_that_fails_is_a_problem_and_no_crash(recorded: Sessions, tmp_path: Path) -> None:
    live = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    record(recorded, live, errors_of(1.0))
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nhead -c 100 >/dev/null; echo 'no luck' >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(MeasurementError, match="no luck"):
        measure(recorded, python=str(broken))


def test_a_draw_of_very_many_rows_is_fair(recorded: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are lowered in place of a log of millions of rows."""
    live = make_live(recorded, kind="regression", metrics={"MAE": 1.0})
    for hour in range(1, 21):  # in bursts at the beginning of a cell
        record(recorded, live, [(float(hour), 0.0)] * 100, ago=hour * HOUR)
        record(recorded, live, [(float(hour), None)] * 100, ago=hour * HOUR + HOUR / 2)
    monkeypatch.setattr(quality_rows, "MAX_SEARCHED_ROWS", 500)
    monkeypatch.setattr(quality_rows, "CELLS", 24 * 10)
    window = QualityPeriod("m", "day", NOW - 24 * HOUR, NOW)
    drawn, labelled, answered = [], [], []
    for seed in range(60):
        with recorded.begin() as session:
            found = quality_rows.draw_rows(session, window, [live], seed)
        drawn += [float(row.answer) for row in found.rows]
        labelled.append(found.labelled.get(live, 0))
        answered.append(found.answered.get(live, 0))
    assert np.mean(labelled) == pytest.approx(2000, rel=0.25)
    assert np.mean(answered) == pytest.approx(4000, rel=0.25)
    assert np.mean(drawn) == pytest.approx(10.5, rel=0.15)


@pytest.mark.parametrize("cells", [1, 50])
def test_a_draw_reads_by_indexes(recorded: Sessions, monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    """The rows of other days are not read, whether Postgres has statistics or not."""
    live = make_live(recorded, kind="regression")
    for day in range(30):
        record(recorded, live, errors_of(1.0, 300), ago=timedelta(days=day, hours=1))
    monkeypatch.setattr(quality_rows, "MAX_SEARCHED_ROWS", 10_000 if cells == 1 else 100)
    monkeypatch.setattr(quality_rows, "CELLS", cells)
    window = QualityPeriod("m", "day", NOW - 24 * HOUR, NOW)
    for _ in ("new", "analyzed"):
        plans = [*explain_draw(recorded, window, live)]
        assert len(plans) == 4
        for plan in plans:
            nodes = with_children(plan)
            assert not [node for node in nodes if "Seq Scan" in node["Node Type"]]
            read = [
                node for node in nodes if node.get("Relation Name", "").startswith(("requests_", "ground_"))
            ]
            rows = sum(node["Actual Rows"] * node["Actual Loops"] for node in read)
            assert (cells > 1 or rows > 0) and rows <= 2 * 300 + 10
        with recorded.begin() as session:
            session.connection().exec_driver_sql("ANALYZE")


def explain_draw(sessions: Sessions, window: QualityPeriod, live: int) -> Iterator[dict[str, Any]]:
    """Yield the plans of all queries of a draw, run once more."""
    engine, statements = sessions.kw["bind"], []

    def keep(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    with sessions.begin() as session:
        quality_rows.draw_rows(session, window, [live], 0)
    event.remove(engine, "before_cursor_execute", keep)
    with sessions.begin() as session:
        for statement, parameters in statements:
            connection = session.connection().connection
            with connection.cursor() as cursor:
                if statement.startswith("SET"):
                    cursor.execute(statement)
                    continue
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
                yield cursor.fetchone()[0][0]["Plan"]


def test_a_draw_has_bounds(recorded: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    live = make_live(recorded, kind="generic")
    record(recorded, live, [("x" * 1000, "y")] * 200)
    window = QualityPeriod("m", "day", NOW - 24 * HOUR, NOW)
    for name, bound in (("MAX_ROWS", 20), ("MAX_BYTES", 20 * 1006)):
        with monkeypatch.context() as lowered, recorded.begin() as session:
            lowered.setattr(quality_rows, name, bound)
            found = quality_rows.draw_rows(session, window, [live], 0)
            assert 19 <= len(found.rows) <= 20
            assert found.labelled == {live: 200}
