"""The health prediction that a release has to answer before it goes live."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from common.errors import RejectedError, ResourceExhaustedError
from common.problems import ProblemError
from ml.runtime.exit_errors import format_duration
from ml.serving.registry import find_schema_example
from ml.serving.workers.pool import Pool
from ml.serving.workers.responses import PredictionError

MAX_RECORDED_INPUTS = 20  # recorded requests that are tried
MAX_ROWS, MAX_ROW_BYTES = 9, 48 << 10  # of the test data, which the model's code has written
REFUSED = 422  # by the type of the features


@dataclass(frozen=True)
class ReadinessProbe:
    """Features that have to be answered without an error, and their source."""

    features: Any
    source: str
    is_recorded: bool = False


def choose_probes(pool: Pool, kind: str | None, recorded: Callable[[], list[Any]]) -> list[ReadinessProbe]:
    """Return the probes in DESIGN.md's order, of which one has to be answered; blocking.

    None are returned where no input can be derived for the model. Recorded requests are several probes:
    the input of a single client never decides about a release.
    """
    handshake = pool.handshake
    if handshake.examples:
        return [ReadinessProbe(handshake.examples[0], "the first of examples()")]
    if example := find_schema_example(handshake.schema):
        return [ReadinessProbe(example[0], "an example of the type that predict() asks for")]
    if len(requests := recorded()) > 1:
        source = f"the newest of {len(requests)} recorded requests, of which it answers none"
        hint = "if it takes other features now, add examples()"
        return [ReadinessProbe(request, f"{source}; {hint}", is_recorded=True) for request in requests]
    if kind == "time-series" and handshake.schema is None:
        return [ReadinessProbe(1, "1, as for any time series; if it takes other features, add examples()")]
    return []


def read_rows(scored: Path) -> list[ReadinessProbe]:
    """Return the forms of a row of the test data that can be sent; none where the file is gone."""
    try:
        rows = json.loads(scored.read_text())["rows"]
    except (OSError, ValueError, KeyError):
        return []
    found = []
    for row in rows[:MAX_ROWS] if isinstance(rows, list) else ():
        with suppress(msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
            if len(msgspec.json.encode(row)) <= MAX_ROW_BYTES:
                found.append(ReadinessProbe(row, "a row of the test data"))
    return found


async def find_answered(
    pool: Pool, rows: Sequence[ReadinessProbe], chosen: Sequence[ReadinessProbe]
) -> ReadinessProbe | None:
    """Return the form of a row that all workers answer, if any; it replaces the guess from the type.

    Without a type, only forms like those of recorded requests are tried: others may crash a worker.
    """
    kinds = {type(one.features) for one in chosen if one.is_recorded and pool.handshake.schema is None}
    rows = [row for row in rows if not kinds or type(row.features) in kinds]
    refused = len(await ask_until_answered(pool, rows))
    return rows[refused] if refused < len(rows) else None


async def check_pool(pool: Pool, probes: Sequence[ReadinessProbe], row: ReadinessProbe | None = None) -> bool:
    """Probe every worker of a pool that has no clients yet; return True when all answered one input.

    Without probes, or when the model refuses every recorded request because the features are not its own,
    a `row` that was answered is enough. Without such a row, loading the model and replying to a request is
    enough: then an error of the model counts as a reply.

    Raises `RejectedError` when no probe is answered, `ResourceExhaustedError` when a worker does not reply.
    """
    if row is not None:
        probes = [one for one in probes if one.is_recorded]
    faults = await ask_until_answered(pool, probes)
    is_refused = all(one.is_recorded for one in probes) and all(each.status == REFUSED for each in faults)
    if len(faults) == len(probes) and not is_refused:
        raise RejectedError(tell(faults[0], probes[0]))
    is_answered = len(faults) < len(probes) or row is not None
    if not is_answered:
        await probe_workers(pool, None)
    if pool.deaths:
        raise ResourceExhaustedError(
            "its worker ended during the health prediction, and answered only when started again"
        )
    return is_answered


async def ask_until_answered(pool: Pool, inputs: Sequence[ReadinessProbe]) -> list[PredictionError]:
    """Return the error for each input, up to the first one that was answered."""
    faults: list[PredictionError] = []
    for one in inputs:
        if (fault := await probe_workers(pool, one)) is None:
            break
        faults.append(fault)
    return faults


async def probe_workers(pool: Pool, probe: ReadinessProbe | None) -> PredictionError | None:
    """Return the first error of a worker; None when all workers return a prediction.

    Raises `ResourceExhaustedError` when one does not reply.
    """
    body = msgspec.json.encode(probe.features if probe else None)
    answers = [pool.submit(body) for _ in pool.workers]
    try:
        gathered = asyncio.gather(*answers, return_exceptions=True)
        answered = await asyncio.wait_for(gathered, pool.limits.predict_timeout + 5)
        for answer in answered:
            if isinstance(answer, BaseException) and not isinstance(answer, PredictionError):
                raise answer
    except (ProblemError, TimeoutError) as error:
        raise ResourceExhaustedError(explain_no_answer(error, pool, probe)) from error
    return next((answer for answer in answered if isinstance(answer, PredictionError)), None)


def tell(fault: PredictionError, chosen: ReadinessProbe) -> str:
    if chosen.is_recorded:  # what users sent is not repeated, here or by the model
        kind = f"predict() raised {error}" if (error := fault.extra.get("error")) else fault.title
        return f"the health prediction failed: {kind} ({chosen.source})"
    features = format_features(msgspec.json.encode(chosen.features))
    return f"the health prediction failed: {fault.detail} (features: {features}, {chosen.source})"


def explain_no_answer(error: Exception, pool: Pool, probe: ReadinessProbe | None) -> str:
    source = f" (features: {probe.source})" if probe else ""
    if isinstance(error, ProblemError) and error.status == 503:
        return f"its worker ended during the health prediction{source}: {error.detail}"
    return f"the health prediction took longer than {format_duration(pool.limits.predict_timeout)}{source}"


def format_features(body: bytes) -> str:
    text = body.decode()
    return text if len(text) <= 100 else text[:100] + "…"
