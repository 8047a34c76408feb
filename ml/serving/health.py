"""The health prediction: a release that cannot answer one never takes the place."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from common.problems import Problem
from ml.errors import Rejected
from ml.runner.verb import duration
from ml.serving.answers import ModelFault
from ml.serving.live import schema_example
from ml.serving.pool import Pool


@dataclass(frozen=True)
class Input:
    """Features that have to be answered without an error, and where they are from."""

    features: Any
    source: str


def choose(pool: Pool, kind: str | None, recorded: Callable[[], tuple[Any] | None]) -> Input | None:
    """In DESIGN.md's order; blocking. None: there is no input that the model has to know."""
    hello = pool.hello
    if hello.examples:
        return Input(hello.examples[0], "the first of examples()")
    if example := schema_example(hello.schema):
        return Input(example[0], "an example of the type that predict() asks for")
    if newest := recorded():
        return Input(newest[0], "the newest recorded request; if it takes other features now, add examples()")
    if kind == "time-series" and hello.schema is None:
        return Input(1, "1, as for any time series; if it takes other features, add examples()")
    return None


async def check(pool: Pool, chosen: Input | None) -> None:
    """Ask every worker of a pool that nobody else asks yet; raises `Rejected` when one cannot answer.

    With nothing to ask about, having loaded the model and coming back from a question is enough: an error of
    the model is then an answer too.
    """
    body = msgspec.json.encode(chosen.features if chosen else None)
    answers = [pool.ask(body) for _ in pool.workers]
    try:
        gathered = asyncio.gather(*answers, return_exceptions=True)
        answered = await asyncio.wait_for(gathered, pool.limits.predict_timeout + 5)
        for answer in answered:
            if isinstance(answer, BaseException) and not isinstance(answer, ModelFault):
                raise answer
    except (Problem, TimeoutError) as error:
        raise Rejected(unanswered(error, pool, chosen)) from error
    for answer in answered:
        if chosen and isinstance(answer, ModelFault):
            source = f"features: {shown(body)}, {chosen.source}"
            raise Rejected(f"the health prediction failed: {answer.detail} ({source})")
    if pool.deaths:
        raise Rejected("its worker ended during the health prediction, and answered only when started again")


def unanswered(error: Exception, pool: Pool, chosen: Input | None) -> str:
    source = f" (features: {chosen.source})" if chosen else ""
    if isinstance(error, Problem) and error.status == 503:
        return f"its worker ended during the health prediction{source}: {error.detail}"
    return f"the health prediction took longer than {duration(pool.limits.predict_timeout)}{source}"


def shown(body: bytes) -> str:
    text = body.decode()
    return text if len(text) <= 100 else text[:100] + "…"
