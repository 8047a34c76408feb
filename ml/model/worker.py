"""Holds one release's model and answers predictions: the model's side of the wire to the gateway.

Frames, both ways: !II (bytes of payload, id of the frame), then the payload, JSON.

    first, id 0    {"examples": [...] | null, "schema": {...} | null, "batch": bool, "load": bool}
                   or {"error": {"message"}} when the model could not be loaded; then this process ends
    a question     [features, ...]: what users sent, as they sent it; the empty array is a ping
    its answers    with the same id, in order, one or more to a frame:
                   [{"prediction": ...} | {"error": {"type", "message"}} | {"invalid": message}, ...]
                   or {"unreadable": message} when Python cannot read the question

Each answer leaves before the next row begins: the gateway always knows which row is being worked on, and
a slow one holds up no answer that is there already.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import repository
from .fault import Fault, call
from .jsonable import Unfit, jsonable
from .schema import Mismatch, Taken, learn

HEADER = struct.Struct("!II")
encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def serve(directory: str, fd: int) -> None:
    """Load the model that directory/input.json names, then answer on the socket `fd` until it closes."""
    connection = socket.socket(fileno=fd)
    connection.set_inheritable(False)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # os._exit flushes nothing
    given = json.loads(Path(directory, "input.json").read_text(encoding="utf-8"))
    try:
        hello, answer = prepare(given)
    except Fault as fault:
        send(connection, 0, {"error": fault.document()})
        os._exit(1)
    gc.collect()
    gc.freeze()  # a first full collection over a model's objects stalls for 25 ms otherwise
    send(connection, 0, hello)
    try:
        converse(connection, answer)
    except OSError:  # the gateway is gone
        pass
    finally:
        os._exit(0)  # no teardown of the interpreter: it takes 90 ms of CPU right after a switch


def prepare(given: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Any], dict[str, Any]]]:
    """What the gateway is told first, and the function that answers one row."""
    entry_point = repository.load(given["source"], given["entry_point"])
    model: Any = Path(given["artifact"]).read_bytes()
    load = getattr(entry_point, "load", None)
    if callable(load):
        model = call("load()", load, model)
    taken = learn(entry_point.predict)
    hello = {
        "examples": examples(entry_point),
        "schema": taken.schema,
        "batch": callable(getattr(entry_point, "predict_batch", None)),
        "load": callable(load),
    }
    return hello, lambda features: predict(entry_point.predict, model, taken, features)


def examples(entry_point: Any) -> list[Any] | None:
    """What the model's optional examples() gives; anything else by that name is not ours to judge."""
    if not callable(getattr(entry_point, "examples", None)):
        return None
    try:
        found = jsonable(entry_point.examples())
    except BaseException:  # noqa: BLE001 (foreign code)
        traceback.print_exc()
        return None
    return found if isinstance(found, list) and found else None


def predict(function: Callable[..., Any], model: Any, taken: Taken, features: Any) -> dict[str, Any]:
    """One row's answer; whatever the model does to this row, the next one is asked."""
    try:
        features = taken.build(features, "")
    except Mismatch as mismatch:
        return {"invalid": str(mismatch)}
    except BaseException as error:  # noqa: BLE001 (a validator of the model's own)
        return {"invalid": text(error)}
    try:
        return {"prediction": jsonable(function(model, features), "the prediction")}
    except Unfit as unfit:
        return {"error": {"type": "Unfit", "message": f"JSON cannot hold what predict() gave: {unfit}"}}
    except BaseException as error:  # noqa: BLE001 (foreign code: sys.exit is one of its answers)
        ours = error.__traceback__  # the frame of this function: the model's author need not see it
        traceback.print_exception(type(error), error, ours and ours.tb_next)
        return {"error": {"type": type(error).__name__, "message": text(error)}}


def text(error: BaseException, limit: int = 500) -> str:
    try:
        return str(error)[:limit]
    except Exception:  # noqa: BLE001 (a hostile __str__)
        return ""


def converse(connection: socket.socket, answer: Callable[[Any], dict[str, Any]]) -> None:
    reader = connection.makefile("rb", buffering=1 << 16)
    while True:
        header = reader.read(HEADER.size)
        if len(header) < HEADER.size:
            return
        length, frame = HEADER.unpack(header)
        payload = reader.read(length)
        try:
            rows = json.loads(payload)
        except (ValueError, RecursionError) as error:
            send(connection, frame, {"unreadable": text(error)})
            continue
        if not rows:
            send(connection, frame, [])
        for row in rows:
            send(connection, frame, [answer(row)])


def send(connection: socket.socket, frame: int, answers: Any) -> None:
    try:
        payload = encode(answers).encode("ascii")
    except (ValueError, RecursionError) as error:
        payload = encode([{"error": {"type": type(error).__name__, "message": text(error)}}]).encode("ascii")
    connection.sendall(HEADER.pack(len(payload), frame) + payload)
