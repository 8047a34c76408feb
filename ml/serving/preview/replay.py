"""Recorded requests, answered by the live release and by a preview: before and after."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from common.problems import ProblemError
from db.models import Release
from ml.prediction_delta import compute_delta, format_value
from ml.serving.workers.pool import Pool
from ml.serving.workers.responses import decode_predictions

MAX_REQUESTS = 10
MAX_SECONDS = 10.0  # for all of them


class NotReplayedError(Exception):
    """The reason why recorded requests are not sent to a release, as a sentence."""


@dataclass(frozen=True)
class ReplayedRequest:
    """One request with both answers, as JSON that fits a table."""

    features: str
    live: str
    this: str
    is_same: bool
    change: float | None  # of its numbers the largest; None where they have none


@dataclass(frozen=True)
class Replay:
    """The replayed requests; `note` says why there are none."""

    rows: tuple[ReplayedRequest, ...] = ()
    note: str | None = None

    @property
    def changed(self) -> int:
        return sum(not row.is_same for row in self.rows)


def explain_refusal(release: Release) -> str:
    """Return why a release may not be sent recorded requests."""
    if release.is_fork is False:
        return "Recorded requests are not sent to it: the operator has set show_rows = false in models.toml."
    return "Recorded requests are not sent to it: it was made from another repository, a fork."


async def answer_all(pool: Pool | None, requests: Sequence[Any]) -> list[Any]:
    """Return `{"prediction": …}` or `{"error": …}` for each request, within `MAX_SECONDS`."""
    if pool is None:
        return [{"error": "nothing is live"}] * len(requests)
    try:
        futures = pool.submit_all([msgspec.json.encode(features) for features in requests], b"")
    except ProblemError as problem:
        return [{"error": problem.title}] * len(requests)
    await asyncio.wait(futures, timeout=MAX_SECONDS)
    answers: list[Any] = []
    for future in futures:
        if future.cancel():  # it would answer later: nobody waits for it
            answers.append({"error": f"no answer within {MAX_SECONDS:g} s"})
        elif isinstance(fault := future.exception(), ProblemError):
            answers.append({"error": fault.title})
        else:
            answers.append({"json": future.result()[0]})
    return answers


def compare_answers(requests: Sequence[Any], live: Sequence[Any], this: Sequence[Any]) -> Replay:
    """Return each request with what changes; slow for large predictions."""
    return Replay(
        tuple(
            compare_one(features, decode_answer(before), decode_answer(after))
            for features, before, after in zip(requests, live, this, strict=True)
        )
    )


def compare_one(features: Any, before: dict[str, Any], after: dict[str, Any]) -> ReplayedRequest:
    both = "prediction" in before and "prediction" in after
    delta = compute_delta(before["prediction"], after["prediction"]) if both else math.nan
    return ReplayedRequest(
        format_value(features),
        format_answer(before),
        format_answer(after),
        is_same=delta == 0,
        change=None if math.isnan(delta) else delta,
    )


def decode_answer(answer: dict[str, Any]) -> dict[str, Any]:
    if "json" not in answer:
        return answer
    try:
        return {"prediction": decode_predictions([answer["json"]])[0]}
    except ProblemError as problem:
        return {"error": problem.title}


def format_answer(answer: dict[str, Any]) -> str:
    """Return a prediction as JSON, else why there is none."""
    if "prediction" not in answer:
        return str(answer["error"])
    try:
        return format_value(answer)
    except RecursionError:
        return "nested too deep to be shown"
