"""Holds one release's model and answers predictions: the model's side of the wire to the gateway.

A question   !II (bytes of payload, id), then the payload: [features, ...], what users sent, as they sent it
A reply      !IIB (bytes of payload, id of the question, kind), then the payload, JSON in ASCII

    kind 0   once, first, of id 0; at most 256 KiB
             {"examples": [...] | null, "schema": {...} | null, "batch": bool, "load": bool}
             or {"error": {"message"}} when the model could not be loaded; then this process ends
    kind 1   the prediction for one row, nothing around it; at most 4 MiB
    kind 2   {"error": {"type", "message"}} or {"invalid": message}: why a row has none; at most 32 KiB
    kind 3   {"unreadable": message}: Python cannot read the question; it has no other reply

A question has one reply for each row, in their order. The gateway ends a worker that says more.
Without predict_batch() each answer leaves before the next row begins: the gateway always knows which row is
being worked on, and a slow one holds up no answer that is there already.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from .fault import Fault
from .jsonable import DEEPEST, is_deeper
from .predict import PREDICTION as PREFIX
from .predict import Model, encode, has_halves, one, prepare, text, together

QUESTION, REPLY = struct.Struct("!II"), struct.Struct("!IIB")
HELLO, PREDICTION, FAULT, UNREADABLE = range(4)
MAX_EXAMPLE, MAX_SCHEMA = 48 << 10, 192 << 10  # bytes: both go into the first reply


def serve(directory: str, fd: int) -> None:
    """Load the model that directory/input.json names, then answer on the socket `fd` until it closes."""
    connection = socket.socket(fileno=fd)
    connection.set_inheritable(False)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # os._exit flushes nothing
    given = json.loads(Path(directory, "input.json").read_text(encoding="utf-8"))
    try:
        hello, model = prepare(given)
        said = encode(fitting(hello))
    except Fault as fault:
        connection.sendall(reply(0, HELLO, encode({"error": fault.document()})))
        os._exit(1)
    gc.collect()
    gc.freeze()  # a first full collection over a model's objects stalls for 25 ms otherwise
    connection.sendall(reply(0, HELLO, said))
    try:
        converse(connection, model)
    except OSError:  # the gateway is gone
        pass
    finally:
        os._exit(0)  # no teardown of the interpreter: it takes 90 ms of CPU right after a switch


def fitting(hello: dict[str, Any]) -> dict[str, Any]:
    """As much of it as is taken: the first of the examples that is not too large, and the schema.

    Raises `Fault` when the schema is too large by itself.
    """
    schema = hello["schema"]
    if schema is not None and "examples" in schema and not fits(schema, MAX_SCHEMA):
        schema = {name: value for name, value in schema.items() if name != "examples"}
    if not fits(schema, MAX_SCHEMA):
        raise Fault(
            f"the schema of predict()'s features has more than {MAX_SCHEMA:,} bytes as JSON, or more "
            f'than {DEEPEST} levels: give predict() a smaller type, or info() smaller "features"'
        )
    given = hello["examples"] or ()
    examples = next(([example] for example in given if fits(example, MAX_EXAMPLE)), None)
    if given and examples is None:
        sys.stderr.write(f"none of examples() has at most {MAX_EXAMPLE:,} bytes as JSON: none is used\n")
    return dict(hello, schema=schema, examples=examples)


def fits(value: Any, limit: int) -> bool:
    if is_deeper(value, DEEPEST):
        return False
    said = encode(value)
    return len(said) <= limit and not has_halves(value, said)


def converse(connection: socket.socket, model: Model) -> None:
    """Answer question after question, until the gateway closes."""
    reader = connection.makefile("rb", buffering=1 << 16)
    while True:
        header = reader.read(QUESTION.size)
        if len(header) < QUESTION.size:
            return
        length, question = QUESTION.unpack(header)
        payload = reader.read(length)
        try:
            rows = json.loads(payload)
        except (ValueError, RecursionError) as error:
            connection.sendall(reply(question, UNREADABLE, encode({"unreadable": text(error)})))
            continue
        answers = together(model, rows)
        if answers is not None:
            connection.sendall(b"".join([of_row(question, answer) for answer in answers]))
            continue
        for row in json.loads(payload):  # anew: predict_batch() may have changed what it was given
            connection.sendall(of_row(question, one(model, row)))


def of_row(question: int, answer: str) -> bytes:
    if answer.startswith(PREFIX):
        return reply(question, PREDICTION, answer[len(PREFIX) : -1])
    return reply(question, FAULT, answer)


def reply(question: int, kind: int, payload: str) -> bytes:
    return REPLY.pack(len(payload), question, kind) + payload.encode("ascii")
