"""The stage `gate`: the release, compared with the live one and judged by its rules."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from common.errors import RejectedError, UnavailableError
from db.claims import MAX_ATTEMPTS
from db.deployments import DeploymentSnapshot
from db.models import Deployment, StageName
from db.request_log import ReplayableRequest
from db.states import DeploymentState, Trigger
from ml import manifest
from ml.builder import baseline, prediction_diff, trial
from ml.builder.baseline import Baseline
from ml.builder.check_isolation import (
    ComparedRequests,
    choose_requests,
    hide_traces,
    open_live_folder,
    share_data,
)
from ml.builder.context import BuildContext
from ml.builder.judging.trend import Past
from ml.builder.judging.verdict import Verdict, explain_verdict, judge_release
from ml.builder.prediction_diff import PredictionDiff, answers_none
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.data import DataResult
from ml.builder.stages.evaluate import EvaluateResult
from ml.builder.stages.result import StageResult
from ml.builder.stages.train import TrainResult
from ml.manifest import Gate, PredictionRule
from ml.runtime.materialize import RunnableRelease
from ml.sandbox import rmtree
from ml.sources.datasets import DataSet
from ml.stage_log import LogLine


@dataclass(frozen=True)
class GateInputs:
    """Everything that the gate compares with, as of one moment."""

    snapshot: DeploymentSnapshot
    live: Deployment | None = None  # the wanted, or else the live deployment
    requests: Sequence[ReplayableRequest] = ()
    not_compared: str | None = None  # why recorded requests are not, though there are some
    past: Past = ()
    trained_until: datetime | None = None  # the newest recorded row that `live` was trained on


KNOWS_TEST = "release {} was trained on rows of this test data: nothing can be concluded from its score"
ReadGateInputs = Callable[[str], GateInputs]  # of the sha256 of the test data


@dataclass(frozen=True, kw_only=True)
class GateResult(StageResult):
    """The deployments that the gate compared with, and what it could not compare.

    A rejection by the rules is its failure.
    """

    snapshot: DeploymentSnapshot
    unjudged: tuple[str, ...] = ()


def run(
    context: BuildContext,
    checkout: CheckoutResult,
    data: DataResult,
    trained: TrainResult,
    evaluated: EvaluateResult,
    read_inputs: ReadGateInputs,
    log_line: LogLine,
) -> GateResult:
    inputs, gate = read_inputs(data.test.sha256), checkout.manifest.gate
    if inputs.live is not None and inputs.live.state is DeploymentState.WANTED:
        log_line(f"release {inputs.live.release_id} is wanted and not live yet: this one is compared with it")
    requests = choose_requests(context, inputs.requests, evaluated.scores.rows)
    with open_live_folder(context, inputs.live) as folder:
        live_scores = score_baseline(context, inputs, data.test, folder)
        if inputs.not_compared and requests.inputs == prediction_diff.RECORDED:
            differences: PredictionDiff | str = inputs.not_compared
        else:
            differences = reuse_comparison(trained, inputs, gate, log_line) or compare_predictions(
                context, inputs.live, requests, trained.release, gate.predictions, folder
            )
    facts: dict[str, Any] = {}
    if isinstance(differences, PredictionDiff):
        facts["differences"] = differences.to_document()
        log_line(f"predictions differ for {differences.summary}")
    else:
        log_line(differences)
    try:
        if not requests.features or answers_none(differences):
            try_prediction(context, trained.release, evaluated, log_line)
        verdict = judge_scores(evaluated, gate, live_scores, differences, inputs, log_line)
    except (RejectedError, UnavailableError) as failure:  # the differences are recorded all the same
        return GateResult(snapshot=inputs.snapshot, facts=facts, failure=failure)
    return GateResult(
        snapshot=inputs.snapshot,
        unjudged=verdict.unjudged,
        facts=facts
        | {
            "verdict": {
                **verdict.to_document(),
                "seen": asdict(inputs.snapshot),
                "changed_rules": checkout.changed_rules,
                "changed_recording": checkout.changed_recording,
            }
        },
        failure=None if verdict.passed else RejectedError(verdict.reason),
    )


def judge_scores(
    evaluated: EvaluateResult,
    gate: Gate,
    live_scores: Baseline,
    differences: PredictionDiff | str,
    inputs: GateInputs,
    log_line: LogLine,
) -> Verdict:
    """Return the verdict on a release, and log what it is based on."""
    metrics = evaluated.scores.metrics
    notes = [live_scores.note]
    if gate.predictions is None and differences == inputs.not_compared:
        notes.append(inputs.not_compared)
    verdict = judge_release(
        metrics,
        gate,
        live=live_scores.metrics,
        compared_with=live_scores.release,
        note="; ".join(note for note in notes if note) or None,
        differences=differences,
        past=inputs.past,
    )
    for line in explain_verdict(verdict, metrics, live_scores.metrics or {}):
        log_line(line)
    return verdict


def score_baseline(context: BuildContext, inputs: GateInputs, test: DataSet, folder: Path) -> Baseline:
    """Score the live release, in a folder where it may work.

    It is retried later while that is unavailable; at the last attempt the decision is left to a person. So it
    is where the live release was trained on rows of the test data, since these were chosen.
    """
    live = inputs.live
    if live and test.recorded and inputs.trained_until and inputs.trained_until >= test.recorded.begins_at:
        return Baseline(release=live.release_id, note=KNOWS_TEST.format(live.release_id))
    try:
        return baseline.score_baseline(
            live,
            share_data(test, folder) if folder != context.folder else test,
            model=context.model,
            settings=context.settings,
            output=folder / f"live-{live.id if live else 0}",
            log=context.log_path(StageName.GATE),
        )
    except UnavailableError as fault:
        if live is None or context.release.attempts < MAX_ATTEMPTS:
            raise
        return Baseline(release=live.release_id, note=str(fault))


def reuse_comparison(
    trained: TrainResult, inputs: GateInputs, gate: Gate, log_line: LogLine
) -> PredictionDiff | None:
    """Return the comparison of the check whose model this is, where it still answers what is asked.

    That is with the release that is live, on recorded requests where there are any, and with no rule for it.
    """
    if trained.differences is None or inputs.live is None or gate.predictions is not None:
        return None
    found = PredictionDiff.from_document(trained.differences)
    if found.compared_with != inputs.live.release_id:
        return None
    if inputs.requests and found.inputs != prediction_diff.RECORDED:
        return None
    log_line("predictions were compared with the live release's by the check")
    return found


def compare_predictions(
    context: BuildContext,
    live: Deployment | None,
    requests: ComparedRequests,
    candidate: RunnableRelease,
    rule: PredictionRule | None,
    live_folder: Path,
) -> PredictionDiff | str:
    """Compare the predictions on requests and what they are, or return a sentence why there are none.

    Raises `UnavailableError`, to be tried again later, only when a rule needs the comparison.
    """
    name = f"differences-{live.id if live else 0}"
    try:
        with hide_traces(context, candidate) as (release, log):
            found = prediction_diff.compare_predictions(
                live,
                release,
                requests.features,
                inputs=requests.inputs,
                ids=requests.ids,
                model=context.model,
                settings=context.settings,
                output=context.folder / name,
                live_output=live_folder / name,
                log=log,
                tolerance=rule.tolerance if rule else manifest.TOLERANCE,
            )
        # a failure's text is the code's own, and may have what users sent
        is_hidden = context.release.trigger is Trigger.CHECK and live is not None and requests.features
        return "the predictions could not be compared" if is_hidden and isinstance(found, str) else found
    except UnavailableError as fault:
        if rule is not None:
            raise
        return f"the predictions could not be compared: {fault}"
    finally:  # users' requests: nothing of them stays but what the release's page shows
        for folder in (context.folder, live_folder):
            rmtree.remove_tree(folder / name)


def try_prediction(
    context: BuildContext, release: RunnableRelease, evaluated: EvaluateResult, log_line: LogLine
) -> None:
    """Try a first prediction, or log why none was tried; raises `RejectedError` when it fails.

    For a time series, 1 is requested when it starts; the type of the features provides its own example.
    """
    if evaluated.kind == "time-series" or evaluated.scores.typed:
        return
    into, log = context.folder / "trial", context.log_path(StageName.GATE)
    if untried := trial.try_rows(release, evaluated.scores.rows, evaluated.kind, output=into, log=log):
        log_line(untried)
