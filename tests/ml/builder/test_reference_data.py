"""What predictions are shown beside: said once by the model, and never what keeps it from going live."""

import json
import math
import re
import subprocess
from pathlib import Path

import pytest

from db import releases
from db.states import Status
from ml.builder.reference_data import validate_reference_data
from ml.model_host.errors import ModelError
from ml.model_host.reference_data import MAX_HISTORY_ROWS, read_history
from tests.harness.environments import ROOT, default_environment  # noqa: F401
from tests.harness.repositories import Files
from tests.ml.conftest import Appliance
from tests.models import INFO, files

KNOWN = [["2026-01-01T00:00:00", 10.0], ["2026-01-03T00:00:00", 30.0]]
HISTORIES = {
    "a series": "pandas.Series([10, None, 30], pandas.date_range('2026-01-01', periods=3))",
    "the training data": "data.assign(day=pandas.to_datetime(data.day)).iloc[[0, 2]]",
}


def forecaster(history: str, parameters: str = "self") -> Files:
    made = files(head="import datetime, os, time\nimport pandas")
    method = f"\n    def history({parameters}):\n        return {history}\n"
    return {**made, "main.py": made["main.py"].replace("\n\nentry_point", f"{method}\n\nentry_point")}


@pytest.mark.parametrize("form", HISTORIES)
def test_the_known_series_is_kept_with_the_release(form: str, appliance: Appliance) -> None:
    commit = appliance.merge(forecaster(HISTORIES[form], "self, data"))
    appliance.settle()

    with appliance.sessions.begin() as session:
        assert releases.find_reference_data(session, appliance.release(commit).id) == {"history": KNOWN}


def test_a_history_that_fails_keeps_no_release_from_going_live(appliance: Appliance) -> None:
    commit = appliance.merge(forecaster("os._exit(3)"))
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, release.reason) == (Status.DEPLOYED, None)
    assert "ended its process with code 3" in appliance.log(release, "evaluate")
    with appliance.sessions.begin() as session:
        assert releases.find_reference_data(session, release.id) == {}


@pytest.mark.parametrize("rows", [[1, 2], [(1, 2)], [("2026-01-01", "many")], 7])
def test_what_is_no_series_is_said_to_be_none(rows: object) -> None:
    with pytest.raises(ModelError, match=re.escape("history() has to give (time, number) rows")):
        read_history(lambda: rows, {})


def test_a_regression_target_has_its_range_in_training_data(appliance: Appliance) -> None:
    info = INFO.replace('"Time series regressor"', '"Regressor", "Target": "visits"')
    commit = appliance.merge(files(info=info))
    appliance.settle()

    with appliance.sessions.begin() as session:
        found = releases.find_reference_data(session, appliance.release(commit).id)
    assert found == {"target": {"column": "visits", "min": 10, "median": 20, "max": 30}}


def test_the_column_that_is_no_feature_is_the_target(appliance: Appliance) -> None:
    made = files(head="import typing", info=INFO.replace("Time series regressor", "Regressor"))
    typed = made["main.py"].replace("features):", "features: typing.TypedDict('Day', {'day': str})):")
    commit = appliance.merge({**made, "main.py": typed})
    appliance.settle()

    with appliance.sessions.begin() as session:
        assert (
            releases.find_reference_data(session, appliance.release(commit).id)["target"]["column"]
            == "visits"
        )


def test_rows_with_a_gap_are_left_out_and_the_newest_are_kept() -> None:
    days = [f"2026-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)] * 4
    rows = [(day, math.nan if number == 0 else number) for number, day in enumerate(reversed(days))]

    found = read_history(lambda: rows, {})
    assert len(found) == MAX_HISTORY_ROWS
    assert found[-1] == [days[0], 4 * 336 - 1.0]
    assert read_history(lambda: {"2026-01-01": None, "2026-01-02": 2}, {}) == [["2026-01-02", 2.0]]
    assert read_history(lambda: rows[:2], {}) == [[days[-2], 1.0]]


PANDAS_HISTORY = """
import json, pandas
from ml.model_host.evaluate import to_cell
from ml.model_host.reference_data import read_history

days = pandas.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"])
series = pandas.Series([1, pandas.NA, 3], index=days, dtype="Int64")
missing = [to_cell(value) for value in (pandas.NA, pandas.NaT, float("nan"), 1.5)]
print(json.dumps([read_history(lambda: series, {}), missing]))
"""


def test_a_gap_may_be_what_pandas_calls_na(default_environment: Path) -> None:  # noqa: F811
    command = [default_environment / "bin/python", "-c", PANDAS_HISTORY]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    history = [["2026-01-01T00:00:00", 1.0], ["2026-01-03T00:00:00", 3.0]]
    assert json.loads(shown) == [history, [None, None, None, 1.5]]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"history": [["2026-01-01", True]]},
        {"history": [["2026-01-01\0", 1]]},
        {"history": [["2026-01-01", 1]] * 10_000},
        {"target": {"column": "\ud800", "min": 1, "median": 2, "max": 3}},
        {"target": {"column": "a", "min": 1, "median": 2}},
    ],
)
def test_what_a_model_wrote_over_the_answer_is_not_kept(said: dict[str, object]) -> None:
    assert isinstance(validate_reference_data(said), str)
