"""The comparison of predictions with the live release's, on recorded requests or else on examples()."""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from common.errors import RejectedError, UnavailableError
from common.system.durable import move_into_place
from db.models import Deployment
from ml import stage_log
from ml.builder import stored_result
from ml.manifest import TOLERANCE
from ml.prediction_delta import compute_delta, format_value
from ml.runtime import invoke
from ml.runtime.materialize import RunnableRelease, materialize_release
from ml.settings import MlSettings, ModelConfig

RECORDED, OF_TEST_DATA = "recorded requests", "rows of the test data"  # what is compared
MAX_ROWS = 200  # rows that are compared
MIN_WHOLE_ROWS = 20  # with fewer, while others have hidden fields, a comparison would be of odd requests
MAX_REPLAY_SECONDS = 10.0  # seconds that a model may take over all of them
TIMEOUT_SECONDS = 60.0  # seconds, including the load of the model
MAX_WORST_ROWS = 5  # rows that are stored to be rendered


@dataclass(frozen=True)
class ChangedPrediction:
    """A changed prediction; values as JSON, truncated when they are long."""

    features: str
    live: str
    this: str
    change: float | None  # the largest of its numbers; None where it is no number, or this release failed
    prediction: str | None = None  # the id of the recorded call that sent these features


@dataclass(frozen=True)
class PredictionDiff:
    """The result of a comparison, over the rows that the live release answered.

    `changed` includes those that `failed` in this release.
    """

    compared_with: int
    inputs: str  # RECORDED, OF_TEST_DATA or "examples"
    compared: int
    changed: int
    failed: int
    mean: float | None  # of the numeric changes, over all rows that have numbers
    largest: float | None
    worst: tuple[ChangedPrediction, ...]

    @property
    def share(self) -> float:
        return self.changed / self.compared

    @property
    def summary(self) -> str:
        """A short text such as `34% of 200 recorded requests`."""
        return f"{100 * self.share:.3g}% of {self.compared} {self.inputs}"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "PredictionDiff":
        """Return what `to_document` stored."""
        worst = tuple(ChangedPrediction(**row) for row in document["worst"])
        known = {field.name: document[field.name] for field in fields(cls)}
        return cls(**{**known, "worst": worst})

    def to_document(self) -> dict[str, Any]:
        """Return the document that is stored with the release."""
        return asdict(self) | {"worst": [asdict(row) for row in self.worst], "share": self.share}


def compare_predictions(
    live: Deployment | None,
    candidate: RunnableRelease,
    requests: Sequence[Any],
    *,
    model: ModelConfig,
    settings: MlSettings,
    output: Path,
    live_output: Path,
    log: Path,
    tolerance: float = TOLERANCE,
    inputs: str = RECORDED,
    ids: Sequence[str] = (),
) -> PredictionDiff | str:
    """Return the differences, or a sentence why there are none.

    Answers are stored in `output`, those of the live release in `live_output`. `inputs` names the requests,
    and `ids` their calls; without any, the candidate's examples() are compared. Numbers that differ by no
    more than `tolerance`, a share of the larger one, are the same.

    Raises `UnavailableError` when the live release cannot be materialized now.
    """
    if live is None:
        return "nothing is live whose predictions could be compared"
    try:
        ready = materialize_release(settings, model, live.release, stage_log.stage_logger(log))
    except RejectedError as fault:  # a fault of this disk, not of the commit under judgement
        raise UnavailableError(
            f"release {live.release_id}, which it is held against, cannot be asked: {fault}"
        ) from fault
    try:
        requests, ids = store_requests(requests, ids, output)
        rows, live_answers, candidate_answers = replay_both(
            candidate, ready, requests or None, (output / "this", live_output / "live"), log
        )
    except RejectedError as fault:
        return f"the predictions could not be compared: {fault}"
    inputs = inputs if requests else "examples"
    found = compare_answers(
        rows, live_answers, candidate_answers, live.release_id, inputs, tolerance=tolerance, ids=ids
    )
    if not rows:
        return "no recorded request and no examples() to compare predictions on"
    return (
        found
        if found.compared
        else f"release {live.release_id}, which it is held against, answered none of the {inputs}"
    )


def explain_too_few(whole: int, reduced: int) -> str:
    """Return why predictions are not compared though requests were recorded."""
    return (
        f"not compared: [record] hides fields of {reduced} of the newest recorded requests, and {whole} "
        f"are whole; {MIN_WHOLE_ROWS} would be needed"
    )


def store_requests(requests: Sequence[Any], ids: Sequence[str], output: Path) -> tuple[list[Any], list[str]]:
    """Return the requests of the first attempt, and the ids of their calls.

    Its answers may be stored already, and users send new requests meanwhile.
    """
    path = output / "requests.json"
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        new = path.with_name("requests.json.new")
        new.write_text(json.dumps([list(requests), list(ids)]))
        move_into_place(new, path)
    stored, named = json.loads(path.read_text())
    return stored, named


def replay_both(
    candidate: RunnableRelease,
    live: RunnableRelease,
    requests: list[Any] | None,
    outputs: tuple[Path, Path],
    log: Path,
) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the rows and both releases' answers; run both in parallel when the rows are given.

    The live release's answers come first.
    """
    if requests is None:
        rows, candidate_answers = replay_rows(candidate, None, outputs[0], log)
        return rows, (replay_rows(live, rows, outputs[1], log)[1] if rows else []), candidate_answers
    with ThreadPoolExecutor(2) as both:
        one = both.submit(partial(replay_rows, candidate, requests, outputs[0], log))
        other = both.submit(partial(replay_rows, live, requests, outputs[1], log))
        rows, live_answers = other.result()
        return rows, live_answers, one.result()[1]


def replay_rows(
    release: RunnableRelease, rows: list[Any] | None, output: Path, log: Path
) -> tuple[list[Any], list[Any]]:
    """Return the rows and a release's answers, from its own environment; both are stored in `output`."""

    def replay(folder: Path) -> list[Any]:
        request = release.to_request() | {"rows": rows, "most": MAX_ROWS, "seconds": MAX_REPLAY_SECONDS}
        result = invoke.invoke(
            "replay", request, runtime=release.runtime, folder=folder, log=log, timeout=TIMEOUT_SECONDS
        )
        replayed = [result.get("rows"), result.get("answers")]
        if not all(isinstance(part, list) for part in replayed):
            raise RejectedError("the model wrote something of its own over Slipway's output.json")
        return replayed

    requests, answers = stored_result.load_or_make(output, "answers.json", replay)
    return requests[:MAX_ROWS], answers[:MAX_ROWS]


def compare_answers(
    rows: Sequence[Any],
    live_answers: Sequence[Any],
    candidate_answers: Sequence[Any],
    live: int,
    inputs: str,
    *,
    tolerance: float = TOLERANCE,
    ids: Sequence[str] = (),
) -> PredictionDiff:
    """Compare row by row, over the rows that the live release answered and that the candidate was sent."""
    compared, failed, gaps, changed = 0, 0, list[float](), list[ChangedPrediction]()
    for features, before, after, id_ in zip(
        rows, live_answers, candidate_answers, chain(ids, repeat(None)), strict=False
    ):
        if not has_prediction(before):
            continue
        compared += 1
        gap = (
            compute_delta(before["prediction"], after["prediction"], tolerance)
            if has_prediction(after)
            else math.nan
        )
        failed += not has_prediction(after)
        if not math.isnan(gap):
            gaps.append(gap)
        if gap != 0:
            change = None if math.isnan(gap) else gap
            changed.append(
                ChangedPrediction(
                    format_value(features), format_value(before), format_value(after), change, id_
                )
            )
    worst = sorted(changed, key=lambda row: math.inf if row.change is None else row.change, reverse=True)
    return PredictionDiff(
        live,
        inputs,
        compared,
        len(changed),
        failed,
        finite_mean(gaps),
        max(gaps, default=None),
        tuple(worst[:MAX_WORST_ROWS]),
    )


def answers_none(found: PredictionDiff | str) -> bool:
    """Return True when this release answers none of the rows that the live one answered."""
    return isinstance(found, PredictionDiff) and found.failed == found.compared


def finite_mean(deltas: Sequence[float]) -> float | None:
    found = sum(gap / len(deltas) for gap in deltas)
    return found if deltas and math.isfinite(found) else None


def has_prediction(answer: Any) -> bool:
    return isinstance(answer, dict) and "prediction" in answer
