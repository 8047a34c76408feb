"""Asks a trained model about many rows at once, to see what it says to each: for comparing two releases."""

from __future__ import annotations

import json
import time
from typing import Any

from .predict import encode, one, prepare, together

LONGEST = 64 << 10  # bytes of one answer
TOO_LONG = "a prediction that is too long to compare"
LARGEST = 8 << 20  # bytes of all answers


def replay(_: str, question: dict[str, Any]) -> dict[str, Any]:
    """`{"rows": what was asked, "answers": what was said to each}`, as far as `seconds` suffice.

    Without rows in the question, those of examples() are asked.
    """
    hello, model = prepare(question)
    given = question["rows"]
    rows = (hello["examples"] or [])[: question["most"]] if given is None else given
    asked = json.dumps(rows)  # a model may change what it is given: each time it gets rows of its own
    until, answers, size = time.monotonic() + question["seconds"], [], 0
    batched = together(model, json.loads(asked))
    for number, row in enumerate(json.loads(asked)):
        said = batched[number] if batched is not None else one(model, row)
        if len(said) > LONGEST:
            said = encode({"error": {"type": "Unfit", "message": TOO_LONG}})
        size += len(said)
        if size > LARGEST or time.monotonic() > until:
            break
        answers.append(json.loads(said))
    return {"rows": rows[: len(answers)], "answers": answers}
