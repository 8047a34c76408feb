"""The first prediction of a checked model, by a worker as a deployment starts it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from common.errors import RejectedError
from common.problems import ProblemError
from ml.builder.context import BuildContext
from ml.serving.deployer import readiness
from ml.serving.deployer.startup import start_pool
from ml.serving.registry import find_schema_example
from ml.serving.workers.pool import Pool, PoolLimits
from ml.stage_log import LogLine

MAX_ANSWER_BYTES = 1 << 20  # bytes of a prediction that is kept


@dataclass(frozen=True)
class FirstPrediction:
    """The schema of the features, None where any JSON is taken; features that work, and their prediction.

    Both are JSON, and None where no input is known for this model: nothing was tried.
    """

    schema: dict[str, Any] | None
    features: bytes | None = None
    prediction: bytes | None = None


@asynccontextmanager
async def open_model(context: BuildContext, log_line: LogLine) -> AsyncIterator[tuple[Pool, FirstPrediction]]:
    """Start a worker of a built release, and predict once; it ends with the context.

    Raises `RejectedError` when the model cannot be loaded, or answers no input that is derived for it.
    """
    limits = PoolLimits(1, context.settings.predict_timeout, context.settings.load_timeout)
    pool = await start_pool(context.model, context.settings, context.release, limits, log_line)
    try:
        try:
            first = await predict_once(pool, context)
        except ProblemError as error:
            raise RejectedError(f"predict() gave no answer: {error.detail}") from error
        yield pool, first
    finally:
        await pool.close()


async def predict_once(pool: Pool, context: BuildContext) -> FirstPrediction:
    kind, schema, examples = context.release.kind, pool.handshake.schema, pool.handshake.examples
    probes = readiness.choose_probes(pool, kind, list)
    scored = context.home.scored(context.release.id)
    rows = [] if kind == "time-series" else readiness.read_rows(scored)
    row = await readiness.find_answered(pool, rows, probes)
    await readiness.check_pool(pool, probes, row)
    known = examples or ([row.features] if row else find_schema_example(schema))
    known = known or [probe.features for probe in probes]
    if not known:
        return FirstPrediction(schema)
    features = msgspec.json.encode(known[0])
    answer, _ = await pool.submit(features)
    whole = answer if isinstance(answer, bytes) else b"".join(answer.pieces)
    return FirstPrediction(schema, features, whole[:MAX_ANSWER_BYTES])
