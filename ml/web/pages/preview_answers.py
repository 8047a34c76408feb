"""A release's answer beside the live one's to the same features."""

import asyncio
from typing import Any

import msgspec

from common.problems import ProblemError
from ml.serving.preview.preview import Preview
from ml.serving.preview.previews import Answer, Previews
from ml.serving.registry import LiveRelease, LoadedRelease
from ml.serving.workers import responses
from ml.web.pages.forecast import build_chart
from ml.web.pages.predict import build_answer_values

SERIES_NAMES = {"known": "Live", "value": "This release"}
Beside = Answer | ProblemError | None  # the live release's answer, why it has none, or that nothing is live


async def ask_both(
    previews: Previews, preview: Preview, body: bytes, request_id: bytes
) -> tuple[Answer, Beside]:
    """Return both answers; raises `ProblemError` when the preview has none."""
    with preview.use(), previews.request_budget.reserve(len(body)):
        await previews.wait_until_ready(preview)  # it may take long: only then is the live one asked
        live = previews.registry.by_model[preview.release.model].live
        asking = asyncio.ensure_future(ask_live(live, body, request_id))
        try:
            return await previews.predict(preview, body, request_id), await asking
        finally:
            asking.cancel()


async def ask_live(live: LiveRelease | None, body: bytes, request_id: bytes) -> Beside:
    """Return the live release's answer; it counts as nobody's request, and is not recorded."""
    if live is None:
        return None
    try:
        return await live.pool.submit(body, request_id)
    except ProblemError as problem:
        return problem


def build_body(answer: Answer, beside: Beside) -> list[bytes]:
    """Return the JSON of `/predict`, and in its member `live` the same of the live release."""
    pieces = responses.build_success_body(*answer)
    if isinstance(beside, ProblemError):
        live = [msgspec.json.encode(beside.to_document())]
    else:
        live = responses.build_success_body(*beside) if beside is not None else [b"null"]
    return [*pieces[:-1], pieces[-1][:-1] + b',"live":', *live, b"}"]


def draw_answers(
    loaded: LoadedRelease, live: LiveRelease | None, answer: Answer, beside: Beside
) -> dict[str, Any]:
    """Return what the template shows of both answers; slow for large predictions."""
    values = build_answer_values(loaded, *answer)
    if isinstance(beside, ProblemError):
        return values | {"live_answer": {"problem": beside.to_document()}}
    if beside is None or live is None:
        return values
    try:
        other = build_answer_values(live, *beside)
    except ProblemError as problem:
        return values | {"live_answer": {"problem": problem.to_document()}}
    if "points" in values and "points" in other:
        chart = build_chart(other["points"], values["points"])
        values["chart"] = {**chart, "names": SERIES_NAMES}
    return values | {"live_answer": other}
