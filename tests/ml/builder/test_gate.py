"""The gate: which release deserves the place, and in which words it is told."""

from typing import Any

import pytest

from common.errors import RejectedError
from db.claims import Deployed
from db.deployments import DeploymentSnapshot
from ml.builder.judging import verdict as gate
from ml.builder.stages import deploy
from ml.manifest import Gate, Manifest, ReleaseSection
from ml.metric_names import find_direction


def rules(**metrics: dict[str, Any]) -> Gate:
    return Manifest.model_validate({"gate": metrics}).gate


def judge(value: float, live: float | None, **bar: Any) -> gate.Verdict:
    before = None if live is None else {"SMAPE": live}
    return gate.judge_release(
        {"SMAPE": value}, rules(SMAPE=bar) if bar else Gate(), live=before, compared_with=7
    )


def test_a_metric_may_worsen_by_so_much_and_no_more() -> None:
    assert judge(0.21, 0.20, may_worsen_by="5%").passed
    assert not judge(0.30, 0.20, may_worsen_by="5%").passed
    assert (
        judge(0.30, 0.20, may_worsen_by="5%").reason == "SMAPE 0.300, release 7 has 0.200 (may worsen by 5%)"
    )


def test_which_way_is_better_may_be_said() -> None:
    assert judge(0.30, 0.20, better="higher", may_worsen_by="0%").passed
    assert not judge(0.19, 0.20, better="higher", may_worsen_by="0%").passed


def test_bounds_hold_whatever_is_live() -> None:
    assert judge(0.70, None, max=0.6).reason == "SMAPE 0.700, has to be at most 0.600"
    assert judge(0.5, None, min=0.6).reason == "SMAPE 0.500, has to be at least 0.600"
    assert judge(0.6, None, min=0.6, max=0.6).passed


def test_every_broken_rule_is_named() -> None:
    assert judge(0.70, 0.20, max=0.6, may_worsen_by="5%").reason == (
        "SMAPE 0.700, has to be at most 0.600; SMAPE 0.700, release 7 has 0.200 (may worsen by 5%)"
    )


def test_without_a_gate_known_metrics_may_worsen_by_ten_percent() -> None:
    metrics = {"SMAPE": 0.25, "accuracy": 0.90, "widgets": 1.0}
    live = {"SMAPE": 0.20, "accuracy": 0.91, "widgets": 9.0}
    verdict = gate.judge_release(metrics, Gate(), live=live, compared_with=7)

    assert verdict.reason == "SMAPE 0.250, release 7 has 0.200 (may worsen by 10%)"
    assert verdict.note == "slipway.toml has no [gate]: SMAPE, accuracy may not worsen by more than 10%"
    assert verdict.to_document()["rules"][1]["change"] == pytest.approx(-0.011, abs=1e-3)


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e6, 1e300])
def test_a_metric_may_be_of_any_size(scale: float) -> None:
    assert judge(0.2 * scale, 0.2 * scale * (1 - 1e-15), may_worsen_by="0%").passed
    assert not judge(0.2001 * scale, 0.2 * scale, may_worsen_by="0%").passed
    assert not judge(18 * scale, 0.2 * scale, may_worsen_by="5%").passed
    assert not judge(0.2001 * scale, None, max=0.2 * scale).passed


def test_what_sum_gives_is_at_its_bound() -> None:
    assert judge(0.1 + 0.2, None, max=0.3).passed


@pytest.mark.parametrize(
    ("live", "unjudged"),
    [
        (None, ("release 7, which it is held against, has no SMAPE on this test data",)),
        ({"smape": 0.1}, ("release 7, which it is held against, never gave SMAPE",)),
        ({"SMAPE": 0.2}, ()),
    ],
)
def test_what_live_has_nothing_beside_is_left_to_a_person(
    live: dict[str, float] | None, unjudged: tuple[str, ...]
) -> None:
    for section in (rules(SMAPE={"may_worsen_by": "5%"}), Gate()):
        verdict = gate.judge_release({"SMAPE": 0.2}, section, live=live, compared_with=7)
        outcome = deploy.decide(DeploymentSnapshot(None, None), ReleaseSection(), verdict.unjudged)

        assert verdict.unjudged == unjudged
        assert isinstance(outcome, Deployed) == (not unjudged)


def test_without_a_known_direction_a_person_judges() -> None:
    first = gate.judge_release({"widgets": 1.0}, Gate())
    second = gate.judge_release({"widgets": 1.0}, Gate(), live={"widgets": 1.0}, compared_with=7)
    bounded = gate.judge_release(
        {"widgets": 1.0}, rules(widgets={"max": 2}), live={"widgets": 1.0}, compared_with=7
    )

    assert (len(first.unjudged), len(second.unjudged), len(bounded.unjudged)) == (0, 1, 0)


def test_many_small_steps_are_told_as_one() -> None:
    past = [(release, {"SMAPE": 0.2 * 1.09 ** (release - 3)}) for release in range(12, 2, -1)]
    metrics = {"SMAPE": 0.2 * 1.09**10}
    verdict = gate.judge_release(metrics, Gate(), live=past[0][1], compared_with=12, past=past)

    assert verdict.passed
    assert verdict.to_document()["trends"][0]["best_release"] == 3
    went = "SMAPE over the last 10 live releases: 0.200 (release 3) to 0.473 (+136.7%)"
    assert f"{went}; the best was 0.200 (release 3)" in gate.explain_verdict(verdict, metrics, past[0][1])


def test_the_first_release_has_nothing_to_be_worse_than() -> None:
    assert judge(0.9, None, may_worsen_by="5%").passed


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("SMAPE", "lower"),
        ("val_rmse", "lower"),
        ("Log loss", "lower"),
        ("logloss", "lower"),
        ("ROC-AUC", "higher"),
        ("f1 (macro)", "higher"),
        ("R2", "higher"),
        ("image_size", None),
        ("maestro", None),
        ("neg_log_loss", "higher"),
        ("neg_root_mean_squared_error", "higher"),
        ("neg MAE", "higher"),
        ("-rmse", "higher"),
        ("-accuracy", "lower"),
        ("neg_recall", None),
        ("negative_log_likelihood", "lower"),
        ("mean_absolute_error", "lower"),
        ("MeanSquaredError", "lower"),
        ("val_loss", "lower"),
        ("rmsle", "lower"),
        ("precision", "higher"),
        ("recall_macro", "higher"),
        ("balanced_accuracy_score", "higher"),
        ("d2_absolute_error_score", "higher"),
        ("accuracy_loss", None),
        ("r2_error", None),
        ("accuracy_drop", None),
        ("rmse_improvement", None),
        ("mse_skill_score", None),
        ("1-accuracy", None),
        ("", None),
    ],
)
def test_the_direction_is_read_from_whole_words(name: str, better: str | None) -> None:
    assert find_direction(name) == better


def test_a_metric_that_the_gate_names_has_to_be_there() -> None:
    with pytest.raises(RejectedError, match="names RMSE, and evaluate"):
        gate.judge_release({"SMAPE": 0.2}, rules(RMSE={"max": 1}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.2", None])
def test_what_is_no_finite_number_is_rejected_with_its_name(value: Any) -> None:
    with pytest.raises(RejectedError, match="SMAPE is"):
        gate.judge_release({"SMAPE": value}, Gate())


def test_an_unknown_direction_has_to_be_said() -> None:
    with pytest.raises(RejectedError, match="needs better ="):
        gate.judge_release({"widgets": 1.0}, rules(widgets={"may_worsen_by": "5%"}), live={"widgets": 1.0})


def test_a_perfect_live_metric_can_be_kept_and_not_be_worsened() -> None:
    assert judge(0.0, 0.0, may_worsen_by="5%").passed
    assert not judge(0.1, 0.0, may_worsen_by="5%").passed
