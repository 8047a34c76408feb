"""Predictions: rows in, each row's answer out as JSON; what the model does to one row stays with that row."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import repository
from .declared import declared
from .fault import call
from .jsonable import Unfit, jsonable
from .schema import ANYTHING, Mismatch, Taken, learn

LARGEST = 4 << 20  # bytes of a prediction
PREDICTION = '{"prediction":'
HALF = re.compile("[\ud800-\udfff]").search
readable = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass
class Model:
    """A loaded model: what it takes, and what it is asked by."""

    loaded: Any  # what load() gave, else the trained bytes
    taken: Taken
    predict: Callable[[Any, Any], Any]
    predict_batch: Callable[[Any, list[Any]], Any] | None


def prepare(given: dict[str, Any]) -> tuple[dict[str, Any], Model]:
    """The gateway's hello, and the model; raises `Fault` when it cannot be loaded."""
    entry_point = repository.load(given["source"], given["entry_point"])
    loaded: Any = Path(given["artifact"]).read_bytes()
    load, batch = optional(entry_point, "load"), optional(entry_point, "predict_batch")
    if load is not None:
        loaded = call("load()", load, loaded)
    taken = learn(entry_point.predict)
    if taken.schema is None:
        taken = said(entry_point)
    hello = {
        "examples": examples(entry_point),
        "schema": taken.schema,
        "batch": batch is not None,
        "load": load is not None,
    }
    return hello, Model(loaded, taken, entry_point.predict, batch)


def optional(entry_point: Any, name: str) -> Callable[..., Any] | None:
    found = getattr(entry_point, name, None)
    return found if callable(found) else None


def said(entry_point: Any) -> Taken:
    """What info() says of the features; it is there for people first, and may do as it likes."""
    try:
        return declared(entry_point.info())
    except BaseException:  # noqa: BLE001 (foreign code)
        traceback.print_exc()
        return ANYTHING


def examples(entry_point: Any) -> list[Any] | None:
    """What the model's optional examples() gives; anything else by that name is not ours to judge."""
    function = optional(entry_point, "examples")
    if function is None:
        return None
    try:
        found = jsonable(function())
    except BaseException:  # noqa: BLE001 (foreign code)
        traceback.print_exc()
        return None
    return found if isinstance(found, list) and found else None


def one(model: Model, row: Any) -> str:
    """The answer to one row, whatever happens."""
    try:
        features = model.taken.build(row, "")
    except Mismatch as mismatch:
        return encode({"invalid": text(mismatch, 2000)})
    except BaseException as error:  # noqa: BLE001 (a validator of the model's own)
        return encode({"invalid": text(error)})
    try:
        return answer(model.predict(model.loaded, features))
    except Unfit as unfit:
        message = f"JSON cannot hold what predict() gave: {text(unfit)}"
        return encode({"error": {"type": "Unfit", "message": message}})
    except BaseException as error:  # noqa: BLE001 (foreign code: sys.exit is one of its answers)
        complain(error)
        return encode({"error": {"type": type(error).__name__[:100], "message": text(error)}})


def together(model: Model, rows: list[Any]) -> list[str] | None:
    """The answers to rows by predict_batch(); None when each is better asked for itself."""
    if model.predict_batch is None or len(rows) < 2:
        return None
    try:
        features = [model.taken.build(row, "") for row in rows]
        predictions = list(model.predict_batch(model.loaded, features))
        if len(predictions) != len(rows):
            raise ValueError(f"predict_batch() gave {len(predictions)} predictions for {len(rows)} rows")
        answers = [answer(prediction) for prediction in predictions]
        return answers if sum(map(len, answers)) <= LARGEST else None
    except (Mismatch, Unfit):
        return None
    except BaseException as error:  # noqa: BLE001 (foreign code; row by row it shows which of them it was)
        complain(error)
        return None


def answer(prediction: Any) -> str:
    plain = jsonable(prediction, "the prediction")
    said = encode(plain)
    if len(said) > LARGEST:
        raise Unfit(f"the prediction has {len(said):,} bytes as JSON, and at most {LARGEST:,} are sent")
    if has_halves(plain, said):
        raise Unfit("the prediction has a text with half a character (a lone surrogate)")
    return PREDICTION + said + "}"


def has_halves(plain: Any, said: str) -> bool:
    """Whether a text in it has half a character: Python's JSON lets that pass, and nobody can read it."""
    return "\\ud" in said and bool(HALF(readable(plain)))


def complain(error: BaseException) -> None:
    """Into the log, without the frame of ours: the model's author need not see it."""
    trace = error.__traceback__
    traceback.print_exception(type(error), error, trace and trace.tb_next)


def text(error: BaseException, limit: int = 500) -> str:
    try:
        return str(error)[:limit]
    except Exception:  # noqa: BLE001 (a hostile __str__)
        return ""
