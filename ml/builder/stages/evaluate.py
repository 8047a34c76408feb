"""The stage `evaluate`: the trained model, scored on the test data, and what predictions are shown with."""

from dataclasses import dataclass
from typing import Any

from common.figures import format_metric
from db.models import StageName
from ml import manifest
from ml.builder import drift_baseline, reference_data, scoring
from ml.builder.context import BuildContext
from ml.builder.drift_baseline import BaselineSource
from ml.builder.scoring import ModelScores
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.data import DataResult
from ml.builder.stages.result import StageResult
from ml.builder.stages.train import TrainResult
from ml.manifest import ModelKind
from ml.monitor.drift.baseline import BaselineError, Source
from ml.stage_log import LogLine


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(StageResult):
    scores: ModelScores
    kind: ModelKind


def run(
    context: BuildContext, checkout: CheckoutResult, data: DataResult, trained: TrainResult, log_line: LogLine
) -> EvaluateResult:
    scores = scoring.score_release(
        trained.release,
        data.test,
        output=context.folder / "evaluate",
        log=context.log_path(StageName.EVALUATE),
        timeout=context.settings.evaluate_timeout,
    )
    log_line(", ".join(f"{name} {format_metric(value)}" for name, value in scores.metrics.items()))
    kind = manifest.detect_kind(checkout.manifest, str(scores.info.get("Type", "")))
    facts: dict[str, Any] = {"metrics": scores.metrics, "info": scores.info, "kind": kind}
    known = read_reference_data(context, data, trained, scores, kind)
    if isinstance(known, str):
        log_line(f"predictions are shown without reference data: {known}")
    else:
        facts["known"] = known
    facts |= make_drift_baseline(context, checkout, data, trained, scores, log_line)
    return EvaluateResult(scores=scores, kind=kind, is_reused=trained.is_reused, facts=facts)


def read_reference_data(
    context: BuildContext, data: DataResult, trained: TrainResult, scores: ModelScores, kind: ModelKind
) -> dict[str, Any] | str | None:
    """Return the reference data to render with predictions, or a sentence why there is none.

    Returns None where the kind of model has no use for it.
    """
    if not (kind == "regression" or (kind == "time-series" and scores.history)):
        return None
    if data.train.recorded is not None:
        return "users sent the training data"
    return reference_data.read_reference_data(
        trained.release.runtime,
        trained.release.entry_point,
        kind,
        data.train,
        output=context.folder / "known",
        log=context.log_path(StageName.EVALUATE),
    )


def make_drift_baseline(
    context: BuildContext,
    checkout: CheckoutResult,
    data: DataResult,
    trained: TrainResult,
    scores: ModelScores,
    log_line: LogLine,
) -> dict[str, Any]:
    """Return the facts of what drift is measured against; none where it will be the first requests."""
    settings, isolation = context.settings, context.release.isolation
    rules = context.model.operator_record.with_defaults(checkout.manifest.record)
    if not (settings.monitor and settings.record and rules.enabled):
        return {}
    try:
        digest = drift_baseline.make_drift_baseline(
            trained.release,
            BaselineSource(data.train, scores.features, rules.hidden_fields),
            context.home.drift_baseline_path(isolation, context.release.id),
            output=context.folder / "drift",
            log=context.log_path(StageName.EVALUATE),
            timeout=settings.evaluate_timeout,
        )
    except BaselineError as fault:
        log_line(f"drift is measured against the first recorded requests, not the training data: {fault}")
        return {"drift_baseline": None, "drift_source": None}
    return {"drift_baseline": digest, "drift_source": Source.TRAINING}
