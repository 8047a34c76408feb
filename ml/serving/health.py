"""The health prediction: a release that cannot answer one never takes the place."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from common.problems import Problem
from ml.errors import Rejected, Strained
from ml.runner.verb import duration
from ml.serving.answers import ModelFault
from ml.serving.live import schema_example
from ml.serving.pool import Pool

RECORDED = 20  # requests that a release is asked about


@dataclass(frozen=True)
class Input:
    """Features that have to be answered without an error, and where they are from."""

    features: Any
    source: str


def choose(pool: Pool, kind: str | None, recorded: Callable[[], list[Any]]) -> list[Input]:
    """In DESIGN.md's order; blocking. One of them has to be answered; none: the model has to know no input.

    Of recorded requests there are several: what one client sent decides about no release.
    """
    hello = pool.hello
    if hello.examples:
        return [Input(hello.examples[0], "the first of examples()")]
    if example := schema_example(hello.schema):
        return [Input(example[0], "an example of the type that predict() asks for")]
    if len(requests := recorded()) > 1:
        source = f"the newest of {len(requests)} recorded requests, of which it answers none"
        hint = "if it takes other features now, add examples()"
        return [Input(request, f"{source}; {hint}") for request in requests]
    if kind == "time-series" and hello.schema is None:
        return [Input(1, "1, as for any time series; if it takes other features, add examples()")]
    return []


async def check(pool: Pool, chosen: Sequence[Input]) -> None:
    """Ask every worker of a pool that nobody else asks yet, until one input is answered by all.

    Raises `Rejected` when there is none, `Strained` when a worker does not come back. With nothing to ask
    about, having loaded the model and coming back from a question is enough: an error
    of the model is then an answer too.
    """
    faults = []
    for one in chosen:
        if (fault := await ask(pool, one)) is None:
            break
        faults.append(fault)
    else:
        if faults:
            raise Rejected(faults[0])
        await ask(pool, None)
    if pool.deaths:
        raise Strained("its worker ended during the health prediction, and answered only when started again")


async def ask(pool: Pool, chosen: Input | None) -> str | None:
    """Why a worker gives no prediction; None when all do. Raises `Strained` when one does not come back."""
    body = msgspec.json.encode(chosen.features if chosen else None)
    answers = [pool.ask(body) for _ in pool.workers]
    try:
        gathered = asyncio.gather(*answers, return_exceptions=True)
        answered = await asyncio.wait_for(gathered, pool.limits.predict_timeout + 5)
        for answer in answered:
            if isinstance(answer, BaseException) and not isinstance(answer, ModelFault):
                raise answer
    except (Problem, TimeoutError) as error:
        raise Strained(unanswered(error, pool, chosen)) from error
    fault = next((answer for answer in answered if isinstance(answer, ModelFault)), None)
    if fault is None:
        return None
    source = f" (features: {shown(body)}, {chosen.source})" if chosen else ""
    return f"the health prediction failed: {fault.detail}{source}"


def unanswered(error: Exception, pool: Pool, chosen: Input | None) -> str:
    source = f" (features: {chosen.source})" if chosen else ""
    if isinstance(error, Problem) and error.status == 503:
        return f"its worker ended during the health prediction{source}: {error.detail}"
    return f"the health prediction took longer than {duration(pool.limits.predict_timeout)}{source}"


def shown(body: bytes) -> str:
    text = body.decode()
    return text if len(text) <= 100 else text[:100] + "…"
