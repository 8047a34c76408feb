"""What a release changes: its predictions beside the live one's on the same inputs, and a rule about it."""

import json
import math
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from db import deployments, request_erasure
from db.request_log_models import RecordedRequest
from db.states import Status
from ml.builder.prediction_diff import (
    PredictionDiff,
    compare_answers,
    compare_predictions,
)
from ml.paths import HomeLayout
from ml.prediction_delta import compute_delta
from ml.runtime.materialize import materialize_release
from ml.sandbox import rmtree
from tests.harness.recorded import record
from tests.harness.repositories import Files
from tests.ml.builder.test_release import live
from tests.ml.conftest import Appliance
from tests.models import files

RULE = "[gate]\npredictions = { may_differ = '20%' }\n"


def model(predict: str, more: str = "", rule: str = "") -> Files:
    made = files(predict=f"return {predict}", evaluate="return {'SMAPE': 0.25}")
    main = made["main.py"].replace("\n\nentry_point", f"\n    {more}\n\nentry_point")
    return {**made, "main.py": main, "slipway.toml": rule}


def asked(appliance: Appliance, *features: Any) -> None:
    """What users asked of the live release, as serve records it."""
    record(appliance.sessions, appliance.model, *features)


def test_recorded_requests_are_asked_of_both_releases(appliance: Appliance) -> None:
    live(appliance, model("features * 10"))
    asked(appliance, 1, 2, 3, 3, 4)  # each is asked once
    commit = appliance.merge(model("features * 10 if features < 3 else features * 11"))
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.DEPLOYED
    found = release.differences
    assert found is not None
    assert (found["compared_with"], found["inputs"]) == (1, "recorded requests")
    assert (found["compared"], found["changed"], found["failed"]) == (4, 2, 0)
    assert (found["mean"], found["largest"]) == (pytest.approx(7 / 4), 4)
    worst = found["worst"][0]
    assert (worst["features"], worst["live"], worst["this"], worst["change"]) == ("4", "40", "44", 4)
    assert "predictions differ for 50% of 4 recorded requests" in appliance.log(release, "gate")


def test_with_hidden_fields_few_requests_are_not_compared(appliance: Appliance) -> None:
    live(appliance, model("features * 10"))
    asked(appliance, 1, 2, 3)
    record(appliance.sessions, appliance.model, *[{"x": 1}] * 5, is_whole=False, is_reduced=True)
    commit = appliance.merge(model("features * 11"))
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.DEPLOYED, release.reason
    assert release.differences is None
    said = "not compared: [record] hides fields of 5 of the newest recorded requests, and 3 are whole"
    assert said in (release.verdict or {})["note"]
    assert said in appliance.log(release, "gate")


def test_requests_that_were_erased_meanwhile_are_not_stored(appliance: Appliance) -> None:
    live(appliance, model("features * 10"))
    kept, erased = record(appliance.sessions, appliance.model, 1, 2)
    with appliance.sessions.begin() as session:
        worst = [
            {"features": "1", "prediction": kept},
            {"features": "2", "prediction": erased},
            {"features": "3"},
        ]
        session.execute(delete(RecordedRequest).where(RecordedRequest.id == uuid.UUID(erased)))
        found = request_erasure.without_erased(session, appliance.model, {"worst": worst, "changed": 3})
    assert found == {"worst": [worst[0], worst[2]], "changed": 3}


def test_no_file_of_recorded_requests_is_left(appliance: Appliance) -> None:
    live(appliance, model("features * 10"))
    asked(appliance, "left-nowhere")
    commit = appliance.merge(model("features * 11"))
    appliance.settle()

    found = appliance.release(commit).differences
    assert found is not None
    assert found["worst"][0]["prediction"]
    home = HomeLayout(appliance.settings.home)
    files = [path for path in (home.root / "releases").rglob("*") if path.is_file() and not path.is_symlink()]
    assert home.list_comparisons() == []
    assert not [path for path in files if b"left-nowhere" in path.read_bytes()]


def test_more_change_than_the_rule_allows_is_rejected(appliance: Appliance) -> None:
    live(appliance, model("features", rule=RULE))
    asked(appliance, 1, 2, 3, 4)
    commit = appliance.merge(model("features if features < 3 else 1 / 0", rule=RULE))
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.REJECTED
    assert release.reason == (
        "predictions differ for 50% of 4 recorded requests "
        "(may differ by 20%; numbers within 0.0001% are the same)"
    )
    assert release.differences is not None
    assert release.differences["failed"] == 2
    assert "ZeroDivisionError" in release.differences["worst"][0]["this"]


def test_without_recorded_requests_examples_are_asked(appliance: Appliance) -> None:
    examples = "def examples(self): return [1, 2]"
    live(appliance, model("str(features)", examples))
    commit = appliance.merge(model("str(features) + '!'", examples))
    appliance.settle()

    found = appliance.release(commit).differences
    assert found is not None
    assert (found["inputs"], found["compared"], found["changed"]) == ("examples", 2, 2)
    assert found["mean"] is None


@pytest.mark.parametrize("recorded", [True, False])
def test_a_model_that_changes_its_rows_is_compared_as_asked(appliance: Appliance, recorded: bool) -> None:
    examples = "def examples(self): return [{'x': 1}, {'x': 2}]"
    batch = "def predict_batch(self, model, rows): return [row.pop('x') for row in rows] + [1 / 0]"
    live(appliance, model("features.pop('x')", examples))
    if recorded:
        asked(appliance, {"x": 1}, {"x": 2})
    commit = appliance.merge(model("features.pop('x') + 1", examples + "\n    " + batch))
    appliance.settle()

    found = appliance.release(commit).differences
    assert found is not None
    assert (found["compared"], found["changed"], found["failed"]) == (2, 2, 0)
    assert sorted(row["features"] for row in found["worst"]) == ['{"x": 1}', '{"x": 2}']


@pytest.mark.parametrize("cut_off", ["live", "this"])
def test_what_is_asked_after_a_first_try_changes_no_comparison(
    appliance: Appliance, tmp_path: Path, cut_off: str
) -> None:
    live(appliance, model("features * 10"))
    commit = appliance.merge(model("features * 10", "same = True"))
    appliance.settle()
    [followed], release = appliance.settings.list_models(), appliance.release(commit)
    with appliance.sessions.begin() as session:
        serving = deployments.find_live(session, followed.name)
    this = materialize_release(appliance.settings, followed, release, print)

    def compared(requests: list[int]) -> PredictionDiff | str:
        into, log = tmp_path / "differences", tmp_path / "log"
        settings = appliance.settings
        return compare_predictions(
            serving, this, requests, model=followed, settings=settings, output=into, live_output=into, log=log
        )

    compared([3, 2, 1])
    rmtree.remove_tree(tmp_path / "differences" / cut_off)  # as when the builder ends before that is kept
    found = compared([4, 3, 2, 1])

    assert isinstance(found, PredictionDiff)
    assert (found.compared, found.changed) == (3, 0)


def test_with_nothing_to_ask_it_is_said_and_nothing_is_rejected(appliance: Appliance) -> None:
    live(appliance, model("features", rule=RULE))
    commit = appliance.merge(model("features + 1", rule=RULE))
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, release.differences) == (Status.DEPLOYED, None)
    assert "no recorded request and no examples()" in (release.verdict or {})["note"]


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("before", "after", "gap"),
    [
        (1, 1.0, 0),
        (0.1 + 0.2, 0.3, 0),
        (1.0, 1.0000009, 0),
        (1000, [1000], math.nan),
        (1000.0, 1000.002, 0.002),
        ([{"p": [0.5]}], [{"p": [0.50000001]}], 0),
        (math.nan, math.nan, 0),
        ([math.nan], [0.0], math.nan),
        ("0.5", "0.50000001", math.nan),
        (1, 3.5, 2.5),
        ([1, 2], [1, 5], 3),
        ({"a": 1, "b": [2]}, {"b": [0], "a": 1}, 2),
        ([["2026-01-06", 1.0]], [["2026-01-06", 1.5]], 0.5),
        ("cat", "cat", 0),
        (None, None, 0),
        ("cat", "dog", math.nan),
        ([1], [1, 2], math.nan),
        (True, 1, math.nan),
        (["a", 1], ["b", 9], math.nan),
        (10**400, 1.0, math.nan),
        (10**400, 10**400, 0),
        (1e308, -1e308, math.nan),
        (math.inf, -math.inf, math.nan),
        (nested(900), nested(900), math.nan),
    ],
)
def test_a_difference_is_the_largest_change_that_can_be_counted(
    before: object, after: object, gap: float
) -> None:
    assert compute_delta(before, after) == pytest.approx(gap, nan_ok=True)


@pytest.mark.parametrize(("tolerance", "changed"), [(0.01, 1), (0.1, 0), (0.0, 3)])
def test_numbers_within_the_tolerance_are_the_same(tolerance: float, changed: int) -> None:
    before, after = [{"p": [1.0]}, {"p": [1.0]}, [0.5]], [{"p": [1.005]}, {"p": [1.05]}, [0.5000001]]
    theirs, ours = ([{"prediction": one} for one in answers] for answers in (before, after))

    assert compare_answers([1, 2, 3], theirs, ours, 7, "examples", tolerance=tolerance).changed == changed


def test_a_tolerance_is_the_repositorys_to_set(appliance: Appliance) -> None:
    rule = "[gate]\npredictions = { may_differ = '20%', tolerance = '1%' }\n"
    live(appliance, model("features", rule=rule))
    asked(appliance, 1, 2, 3, 4)
    close = appliance.merge(model("features * 1.009", rule=rule))
    appliance.settle()
    far = appliance.merge(model("features * 1.03", rule=rule))
    appliance.settle()

    assert appliance.release(close).status is Status.DEPLOYED
    release = appliance.release(far)
    assert release.status is Status.REJECTED
    assert release.reason == (
        "predictions differ for 100% of 4 recorded requests "
        "(may differ by 20%; numbers within 1% are the same)"
    )


def test_rows_that_the_live_release_failed_do_not_count() -> None:
    error, one = {"error": {"type": "ValueError", "message": ""}}, {"prediction": 1}
    found = compare_answers([1, 2, 3], [error, one, one], [one, one, error], 7, "examples")

    assert (found.compared, found.changed, found.failed) == (2, 1, 1)


def test_whatever_a_model_says_can_be_kept() -> None:
    odd = [{"prediction": value} for value in ("half a \ud800", "\0", "x" * 10_000, 10**400, [1e308, -1e308])]
    found = compare_answers([1] * 5, odd, [{"prediction": 0}] * 5, 7, "examples")

    document = json.dumps(found.to_document(), allow_nan=False)
    document.encode()
    assert "\\u0000" in document or "\0" not in document
    assert found.changed == 5
