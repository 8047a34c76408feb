"""What a model says of itself is bounded, and never a bug of Slipway's."""

from typing import Any

import pytest

from db.models import Release, Status
from ml.errors import Rejected
from ml.model.bounds import MAX_INFO_BYTES, fit_info
from ml.stages.evaluate import check_metrics
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
    ("metrics", "reason"),
    [
        ({"x" * 101: 1.0}, "longer than 100 characters"),
        ({"a\nb": 1.0}, r"cannot be printed: 'a\nb'"),
        ({"\ud800": 1.0}, r"cannot be printed: '\ud800'"),
        ({"a": True}, "a metric is a finite number"),
    ],
)
def test_a_metric_that_cannot_be_kept_is_named(metrics: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        check_metrics(metrics)

    assert reason in str(rejected.value)
