"""What a release's predictions are shown beside; a model that cannot say it goes live all the same."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from common.durable import publish
from ml.errors import Rejected, Unavailable
from ml.numbers import is_finite
from ml.runner import trees, verb
from ml.runner.verb import Room
from ml.stages.data import DataSet

TIMEOUT = 60.0  # seconds
LARGEST = 128 << 10  # bytes, as JSON
NUMBERS = ("min", "median", "max")


def ask(
    room: Room, entry_point: str, kind: str, data: DataSet, *, into: Path, log: Path
) -> dict[str, Any] | str:
    """As it is kept with the release; in words why there is nothing. What was answered is kept in `into`."""
    done = into / "known.json"
    if not done.exists():
        new = into.with_name(into.name + ".new")
        trees.remove(new)
        question = {"entry_point": entry_point, "kind": kind, "data": data.question()}
        try:
            found = verb.ask("known", question, room=room, folder=new, log=log, timeout=TIMEOUT)
        except (Rejected, Unavailable) as fault:
            return str(fault)
        (new / done.name).write_text(json.dumps(found))
        publish(new, into)
    return checked(json.loads(done.read_text()))


def checked(found: dict[str, Any]) -> dict[str, Any] | str:
    """What a model wrote, if it is of the shape that the pages draw: it may have written what it liked."""
    history, target = found.get("history"), found.get("target")
    if len(json.dumps(found)) > LARGEST:
        return "what is known was said at a length that is not kept"
    if isinstance(history, list) and history and all(map(is_row, history)):
        return {"history": history}
    if isinstance(target, dict) and is_spread(target):
        return {"target": {name: target[name] for name in ("column", *NUMBERS)}}
    return "no history is known" if "history" in found else "no column of the training data is the target"


def is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 2 and is_moment(row[0]) and is_finite(row[1])


def is_moment(text: Any) -> bool:
    try:
        datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return False
    return True


def is_spread(target: dict[str, Any]) -> bool:
    column = target.get("column")
    named = isinstance(column, str) and column.isprintable()
    return named and all(is_finite(target.get(name)) for name in NUMBERS)
