"""The response to a call with many rows, which counts as memory until its client has taken it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from weakref import finalize

from fastapi import Response
from fastapi.responses import StreamingResponse

from ml.serving.request_body import ByteBudget
from ml.serving.request_log.log import Call
from ml.serving.workers.responses import Label, join_pieces
from ml.serving.workers.wire import MIN_PIECE_BYTES, PredictionJson


@dataclass(frozen=True)
class BatchResult:
    """The predictions as JSON, in the order of the rows, and who made them."""

    label: Label
    predictions: list[PredictionJson]
    call: Call | None = None  # in the request log


def reserve_response(result: BatchResult, budget: ByteBudget) -> None:
    """Reserve the answer's bytes for as long as it is in memory; raises `ProblemError` without room for it.

    Large predictions are counted on arrival.
    """
    taken = sum(len(one) for one in result.predictions if isinstance(one, bytes))
    finalize(result, budget.reserve(taken).release)


def build_response(
    pieces: list[bytes],
    label: Label,
    owner: Sequence[PredictionJson] | BatchResult,
    call: Call | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a JSON response of pieces, each sent when the client has taken those before it.

    `owner` stays referenced, and so reserved in the budget, until then.
    """
    length = str(sum(map(len, pieces)))
    named = {"Content-Length": length, "X-Slipway-Release": label.header.decode(), **(headers or {})}
    if call is not None:
        named["X-Slipway-Prediction"] = call.id.text.decode()
    if len(pieces) == 1:
        return Response(pieces[0], headers=named, media_type="application/json")

    async def stream(_: Sequence[PredictionJson] | BatchResult) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(0)

    return StreamingResponse(stream(owner), headers=named, media_type="application/json")


def build_predictions_response(result: BatchResult, name: str = "predictions") -> Response:
    """Return `{"predictions": [...], "model": ..., "release": ..., "commit": ...}`, the first as `name`."""
    begin = b'{"%b":[' % name.encode()
    if all(isinstance(one, bytes) for one in result.predictions):
        joined = begin + b",".join(map(join_pieces, result.predictions)) + b"]" + result.label.json_suffix
        pieces = [joined[at : at + MIN_PIECE_BYTES] for at in range(0, len(joined), MIN_PIECE_BYTES)]
    else:
        pieces = [begin]
        for prediction in result.predictions:
            pieces += [prediction] if isinstance(prediction, bytes) else prediction.pieces
            pieces.append(b",")
        pieces[-1] = b"]" + result.label.json_suffix
    return build_response(pieces, result.label, result, result.call)
