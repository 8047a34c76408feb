"""The replay of many rows on a trained model, for the comparison of two releases."""

from __future__ import annotations

import json
import time
from typing import Any

from .predict import encode_json, predict_batch_or_none, predict_row, prepare_model

MAX_ANSWER_BYTES = 64 << 10  # bytes of one answer
TOO_LONG = "a prediction that is too long to compare"
MAX_TOTAL_BYTES = 8 << 20  # bytes of all answers


def replay(_: str, question: dict[str, Any]) -> dict[str, Any]:
    """Return `{"rows": the rows, "answers": the answer to each}`, as many as fit into `seconds`.

    Without rows in `question`, those of examples() are used.
    """
    handshake, model = prepare_model(question)
    given = question["rows"]
    rows = (handshake["examples"] or [])[: question["most"]] if given is None else given
    encoded = json.dumps(rows)  # a model may change its arguments: each time it gets fresh rows
    until, answers, size = time.monotonic() + question["seconds"], [], 0
    batched = predict_batch_or_none(model, json.loads(encoded))
    for number, row in enumerate(json.loads(encoded)):
        answer = batched[number] if batched is not None else predict_row(model, row)
        if len(answer) > MAX_ANSWER_BYTES:
            answer = encode_json({"error": {"type": "Unfit", "message": TOO_LONG}})
        size += len(answer)
        if size > MAX_TOTAL_BYTES or time.monotonic() > until:
            break
        answers.append(json.loads(answer))
    return {"rows": rows[: len(answers)], "answers": answers}
