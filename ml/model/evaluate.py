"""Scores a trained model on the test data, and asks it to describe itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from . import repository, tables
from .bounds import fit_info, wrong_metrics
from .fault import Fault, call
from .jsonable import Unfit, jsonable
from .known import target
from .predict import optional
from .schema import learn

LONGEST_ROW = 48 << 10  # bytes as JSON


def evaluate(_: str, question: dict[str, Any]) -> dict[str, Any]:
    """`{"metrics": name → finite number, "info": what info() gave, "history": whether it has one,
    "rows": what a prediction can be tried with}`."""
    entry_point = repository.load(question["source"], question["entry_point"])
    model = Path(question["artifact"]).read_bytes()
    scores = call("evaluate()", entry_point.evaluate, model, tables.read(question["data"]))
    info = description(call("info()", entry_point.info))
    return {
        "metrics": metrics(scores),
        "info": info,
        "rows": choose_rows(entry_point, question["data"]),
        "history": callable(getattr(entry_point, "history", None)),
    }


def choose_rows(entry_point: Any, data: dict[str, str]) -> list[Any] | None:
    """The first row of the test data in the forms that predict() may take; None where it gives examples.

    Where nobody says which column is the target, it may be any end of the row, or not among them.
    """
    if optional(entry_point, "examples") or "examples" in (learn(entry_point.predict).schema or {}):
        return None
    try:
        table = tables.read(data)
        column, names = target(entry_point, table), list(table.columns)
        chosen = [names, names[:-1], names[1:]] if column is None else [[n for n in names if n != column]]
        first = next(iter(table.to_dict("records")))
        plain = [{str(name): cell(first[name]) for name in of} for of in chosen]
    except Exception:  # noqa: BLE001 (data that are no table, or foreign code)
        return []
    forms: list[Any] = []
    for row in plain:
        values = list(row.values())
        forms += [row, values, *(values if len(values) == 1 else [])]
    return [form for form in forms if len(json.dumps(form)) <= LONGEST_ROW]


def cell(value: Any) -> Any:
    """As JSON has it; what a table has no value for is null."""
    return None if isinstance(value, float) and math.isnan(value) else jsonable(value)


def metrics(scores: Any) -> dict[str, float]:
    """The scores as plain finite numbers; numpy's scalars are welcome."""
    if not hasattr(scores, "items"):
        raise Fault(f"evaluate() gave {kind(scores)}: it has to return a dict of metrics")
    given = {str(name): value for name, value in scores.items()}
    if wrong := wrong_metrics(given):
        raise Fault(wrong)
    found = {name: number(name, value) for name, value in given.items()}
    if not found:
        raise Fault("evaluate() gave an empty dict: without a number nothing can be judged")
    return found


def number(name: str, value: Any) -> float:
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    if isinstance(plain, (str, bytes)):
        raise Fault(f"evaluate() gave {name} = {plain!r:.100}, a text: a metric is a number")
    try:
        plain = float(plain)
    except (TypeError, ValueError) as error:
        raise Fault(f"evaluate() gave {name} of type {kind(value)}: a metric is a number") from error
    if not math.isfinite(plain):
        raise Fault(f"evaluate() gave {name} = {plain}: a metric is a finite number")
    return plain


def description(info: Any) -> dict[str, Any]:
    if not hasattr(info, "items"):
        raise Fault(f"info() gave {kind(info)}: it has to return a dict that describes the model")
    try:
        plain: dict[str, Any] = jsonable(dict(info))
    except Unfit as unfit:
        raise Fault(f"info() gave something that JSON cannot hold: {unfit}") from unfit
    return fit_info(plain)


def kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
