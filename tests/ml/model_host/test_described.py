"""What a model says of itself is bounded, and never a bug of Slipway's."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest

from common.errors import RejectedError
from db.models import Release
from db.states import Status
from ml.builder.scoring import check_metrics
from ml.model_host.bounds import MAX_INFO_BYTES, fit_info
from ml.model_host.errors import ModelError
from ml.model_host.evaluate import parse_metrics, read_info
from tests.harness.environments import default_environment  # noqa: F401
from tests.ml.conftest import Appliance
from tests.models import files


def built(appliance: Appliance, **parts: str) -> Release:
    commit = appliance.merge(files(**parts))
    appliance.settle()
    return appliance.release(commit)


INFO = """
    return {"Name": "A\\0b\\ud800\\x1b[2J", "Type": "Regression", "Huge": "x" * 12_000_000, "k\\0": [1]}
"""


def test_info_is_described_as_far_as_it_can_be(appliance: Appliance) -> None:
    release = built(appliance, info=INFO, predict="return 1")

    assert release.status is Status.DEPLOYED, release.reason
    assert release.info == {
        "Name": r"A\x00b\ud800\x1b[2J",
        "Type": "Regression",
        r"k\x00": [1],
        "(left out)": "Huge: what info() gives may have 65,536 bytes as JSON",
    }


def test_many_metrics_are_the_commits_fault(appliance: Appliance) -> None:
    release = built(appliance, evaluate="return {f'metric {n}': n for n in range(20_000)}")

    assert release.status is Status.REJECTED
    assert "evaluate() gave 20,000 metrics, and at most 200 are taken" in str(release.reason)


def test_an_error_with_a_nul_is_told(appliance: Appliance) -> None:
    release = built(appliance, train="raise ValueError('no\\0 visits \\ud83d \\x1b]0;title\\x07')")

    assert release.status is Status.REJECTED
    assert r"ValueError: no\x00 visits \ud83d \x1b]0;title\x07" in str(release.reason)


FORGED = """
    import json, sys
    answer = sys.modules["_slipway_model.answer"]
    answer.json.dump = lambda _, file, **more: file.write({})
    return {{"SMAPE": 0.25}}
"""
OUTPUTS = {
    "metrics": '{"result": {"metrics": {"SMAPE": "good"}, "info": {}}}',
    "long metrics": '{"result": {"metrics": {"SMAPE": 1' + "0" * 400 + '}, "info": {}}}',
    "infinite metrics": '{"result": {"metrics": {"SMAPE": 1e999}, "info": {}}}',
    "a name": '{"result": {"metrics": {"a\\u0000": 1}, "info": {}}}',
    "depth": '{"result": {"metrics": {"SMAPE": 1}, "info": {"a": ' + "[" * 900 + "]" * 900 + "}}}",
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_forged_output_is_the_commits_fault(output: str, appliance: Appliance) -> None:
    release = built(appliance, evaluate=FORGED.format(repr(OUTPUTS[output])))

    assert release.status is Status.REJECTED, release.reason
    assert "evaluate()" in str(release.reason)


def test_info_that_no_json_has_is_stored_as_text(appliance: Appliance) -> None:
    output = '{"result": {"metrics": {"SMAPE": 0.25}, "info": {"a": NaN, "b": [1e999], "c": "\\ud800"}}}'

    release = built(appliance, evaluate=FORGED.format(repr(output)))

    assert release.status is Status.DEPLOYED, release.reason
    assert release.info == {"a": "nan", "b": ["inf"], "c": r"\ud800"}


def test_what_is_left_out_is_named() -> None:
    many: dict[str, Any] = {f"{number}": "x" * 600 for number in range(200)}

    fitted = fit_info({**many, "Type": "Regression"})

    assert len(str(fitted)) < MAX_INFO_BYTES
    assert fitted["Type"] == "Regression"
    assert fitted["(left out)"].startswith("105, 106, 107, 108, 109, …: ")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"x" * 101: 1.0}, "longer than 100 characters"),
        ({"a\nb": 1.0}, r"cannot be printed: 'a\nb'"),
        ({"\ud800": 1.0}, r"cannot be printed: '\ud800'"),
        ({"a": True}, "a metric is a finite number"),
    ],
)
def test_a_metric_that_cannot_be_kept_is_named(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(RejectedError) as rejected:
        check_metrics(given)

    assert reason in str(rejected.value)


def test_a_metric_with_a_nul_in_its_name_is_the_commits_fault(appliance: Appliance) -> None:
    release = built(appliance, evaluate='return {"SM\\0APE": 0.2}')

    assert release.status is Status.REJECTED
    assert r"cannot be printed: 'SM\x00APE'" in str(release.reason)
    assert release.attempts == 1


ODD_INFO = """
    import functools, pathlib
    class Loud:
        def __str__(self): raise RuntimeError("no")
    return {
        "Name": "Odd", "Type": "Regression", "missing": float("nan"), "path": pathlib.Path("/data"),
        7: "seven",
        "params": {"objective": functools.reduce, "rates": [0.1, float("inf")], "seed": Loud()},
    }
"""


def test_info_that_json_cannot_hold_is_described_in_words(appliance: Appliance) -> None:
    release = built(appliance, info=ODD_INFO, predict="return 1")

    assert release.status is Status.DEPLOYED, release.reason
    assert release.info == {
        "Name": "Odd",
        "Type": "Regression",
        "missing": None,
        "path": "/data",
        "7": "seven",
        "params": {"objective": "reduce", "rates": [0.1, None], "seed": "Loud"},
    }


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ("return ['Name']", "info() gave list: it has to return a dict that describes the model"),
        ("raise OSError('no licence')", "info() raised OSError: no licence"),
    ],
)
def test_info_that_fails_stops_no_model(info: str, told: str, appliance: Appliance) -> None:
    release = built(appliance, info=info, predict="return 1")

    assert release.status is Status.DEPLOYED, release.reason
    assert release.info == {"(left out)": told}


class Hostile:
    """A value, a key or a whole that leaves the process when it is looked at."""

    def __getattr__(self, name: str) -> Any:
        sys.exit(name)

    __str__ = None  # type: ignore[assignment]


class Node(dict[str, Any]):
    """One of a tree whose nodes know their parents."""

    def __init__(self, depth: int, parent: Any = None) -> None:
        super().__init__(parent=parent, children=[Node(depth - 1, self) for _ in range(20 if depth else 0)])


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (lambda: {"combinations": 10**5000, "Type": "Regression"}, {"Type": "Regression", "(left out)": ANY}),
        (
            lambda: {Hostile(): 1},
            {"(left out)": "info() raised TypeError: 'NoneType' object is not callable"},
        ),
        (lambda: {"a": Hostile()}, {"(left out)": "info() left the process: sys.exit('isoformat')"}),
        (Hostile, {"(left out)": "info() left the process: sys.exit('items')"}),
        (lambda: {"tree": Node(2), "Type": "Regression"}, {"Type": "Regression", "(left out)": ANY}),
    ],
)
def test_odd_info_ends_nothing(info: Callable[[], Any], told: dict[str, Any]) -> None:
    began = time.perf_counter()

    assert read_info(SimpleNamespace(info=info)) == told
    assert time.perf_counter() - began < 5


def test_a_metric_that_no_float_holds_is_the_commits_fault() -> None:
    with pytest.raises(ModelError, match="a metric is a finite number"):
        parse_metrics({"cost": 10**400})


TABLES = """
import json, sys
import numpy, pandas
from ml.model_host.to_json import to_json_value
from ml.model_host.mismatch import FeatureValidationError
from ml.model_host.schema import learn_schema

def frame(model, features: pandas.DataFrame): ...
def series(model, features: pandas.Series): ...
def array(model, features: numpy.ndarray): ...

def refused(kind, value):
    try:
        return learn_schema(kind).build(value, "").shape
    except FeatureValidationError as mismatch:
        return str(mismatch)

row, rows = {"x": 1.5, "y": "a"}, [{"x": 1}, {"x": 2}]
when = numpy.array(["2026-01-01T12:00", "NaT"], "M8[ns]")
print(json.dumps([
    learn_schema(frame).build(row, "").to_dict("records"), list(learn_schema(frame).build(rows, "")["x"]),
    dict(learn_schema(series).build(row, "")),
    learn_schema(array).build([[1, 2], [3, 4]], "").sum(axis=0).tolist(),
    [refused(frame, 7), refused(array, [[1], [2, 3]]), refused(series, [1])],
    to_json_value(pandas.Series([1.5, 2], index=pandas.date_range("2026-01-01", periods=2))),
    to_json_value(pandas.Series([1.5, 2])),
    to_json_value(
        [when[0], when, numpy.timedelta64(1_500_000_000, "ns"), numpy.array(["2026-01-01"], "M8[D]")]
    ),
]))
"""


def test_tables_of_pandas_and_numpy_are_taken_with_their_times(default_environment: Path) -> None:  # noqa: F811
    said = subprocess.run(
        [default_environment / "bin/python", "-c", TABLES],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    frame, column, series, array, refused, by_time, plain, times = json.loads(said)
    assert (frame, column) == ([{"x": 1.5, "y": "a"}], [1, 2])
    assert by_time == [["2026-01-01T00:00:00", 1.5], ["2026-01-02T00:00:00", 2.0]]
    assert plain == [1.5, 2.0]
    assert (series, array) == ({"x": 1.5, "y": "a"}, [4, 6])
    assert refused == [
        "features has to be an object with a value for each column, not 7",
        "features has to be a list of numbers, or lists of one length, not [[1], [2, 3]]",
        "features has to be an object with a value for each column, not [1]",
    ]
    assert times == ["2026-01-01T12:00:00", ["2026-01-01T12:00:00", None], 1.5, ["2026-01-01"]]
