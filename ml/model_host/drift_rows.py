"""Rows of the training data as features, with the predictions on them: what drift is measured against."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

from . import dataframes
from .errors import ModelError
from .evaluate import to_cell
from .predict import LoadedModel, predict_batch_or_none, predict_row, prepare_model
from .to_json import NotSerializableError

MAX_ROW_BYTES = 64 << 10  # of a row, and of a prediction
MAX_TOTAL_BYTES = 12 << 20
TRIED_ROWS = 50  # of these most have to be answered, else the columns are not what predict() takes
FRAME_ROWS = 100  # that predict_batch() gets at once
MAX_LOGGED_ERRORS = 20

Json = dict[str, Any]


def drift_rows(_folder: str, question: dict[str, Any]) -> dict[str, Any]:
    """Return `{"rows": the features of rows, without those that are hidden, "predictions": one for each}`.

    The rows are an equal-probability draw: at most `most`, and as many as are predicted in `seconds`.
    """
    model = prepare_model(question)[1]
    drawn = list(draw_rows(dataframes.read_data(question["data"]), question["features"], question["most"]))
    hidden, until = set(question["hidden"]), time.monotonic() + question["seconds"]
    rows: list[Json] = []
    predictions: list[Any] = []
    tried, size = 0, 0
    for row, answer in predict_in_time(model, drawn, until):
        tried += 1
        found = json.loads(answer) if len(answer) <= MAX_ROW_BYTES else {}
        if "prediction" in found:
            rows.append({name: value for name, value in row.items() if name not in hidden})
            predictions.append(found["prediction"])
            size += len(json.dumps(rows[-1])) + len(answer)
        if tried == TRIED_ROWS:
            check_answered(len(rows), tried)
        if size > MAX_TOTAL_BYTES:
            break
    check_answered(len(rows), tried)
    return {"rows": rows, "predictions": predictions}


def draw_rows(table: Any, features: list[str], most: int) -> Iterator[Json]:
    """Yield a draw of a table's rows in random order, with the columns that are features."""
    columns = {str(name): name for name in getattr(table, "columns", ())}
    names = [name for name in features if name in columns]
    if not names:
        raise ModelError("no column of the training data has the name of a feature")
    places = random.Random(0).sample(range(len(table)), min(most, len(table)))  # noqa: S311 (a draw, no secret)
    chosen = table[[columns[name] for name in names]].iloc[places]
    for record in chosen.to_dict("records"):
        with contextlib.suppress(NotSerializableError):
            row = {name: to_cell(record[columns[name]]) for name in names}
            if len(json.dumps(row)) <= MAX_ROW_BYTES:
                yield row


def predict_in_time(model: LoadedModel, rows: list[Json], until: float) -> Iterator[tuple[Json, str]]:
    """Yield rows with the answers, as long as there is time; most errors are left out of the log."""
    errors = 0
    with open(os.devnull, "w") as nowhere:
        for begin in range(0, len(rows), FRAME_ROWS):
            frame = rows[begin : begin + FRAME_ROWS]
            copies = json.loads(json.dumps(frame))  # a model may change its arguments
            with contextlib.redirect_stderr(nowhere) if errors else contextlib.nullcontext():
                answers = predict_batch_or_none(model, copies)
            for number, row in enumerate(frame):
                if time.monotonic() > until:
                    return
                is_quiet = errors >= MAX_LOGGED_ERRORS
                with contextlib.redirect_stderr(nowhere) if is_quiet else contextlib.nullcontext():
                    answer = answers[number] if answers else predict_row(model, json.loads(json.dumps(row)))
                errors += "prediction" not in answer[:20]
                yield row, answer


def check_answered(answered: int, tried: int) -> None:
    if 2 * answered < tried or not tried:
        raise ModelError(
            f"predict() answered {answered} of {tried} rows of the training data: their columns are not its "
            "features, or it takes too long"
        )
