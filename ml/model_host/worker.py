"""The model's side of the wire to the gateway: holds one release's model and answers predictions.

A request    !II (bytes of payload, id), then the payload: [features, ...], exactly as users sent them
A reply      !IIB (bytes of payload, id of the request, kind), then the payload, JSON in ASCII

    kind 0   once, first, of id 0; at most 256 KiB
             {"examples": [...] | null, "schema": {...} | null, "batch": bool, "load": bool}
             or {"error": {"message"}} when the model could not be loaded; then this process ends
    kind 1   the prediction for one row, nothing around it; at most 4 MiB
    kind 2   {"error": {"type", "message"}} or {"invalid": message}: why a row has none; at most 32 KiB
    kind 3   {"unreadable": message}: Python cannot read the request; it has no other reply

A request has one reply for each row, in their order. The gateway ends a worker that sends more.
Without predict_batch() each answer leaves before the next row begins: the gateway can always tell which row
is being worked on, and a slow one delays no finished answer.
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

from .errors import ModelError
from .predict import PREDICTION_PREFIX as PREFIX
from .predict import (
    LoadedModel,
    encode_json,
    format_error,
    has_surrogates,
    predict_batch_or_none,
    predict_row,
    prepare_model,
)
from .to_json import MAX_DEPTH, is_deeper

QUESTION, REPLY = struct.Struct("!II"), struct.Struct("!IIB")
HANDSHAKE, PREDICTION, ERROR, UNREADABLE = range(4)
MAX_EXAMPLE_BYTES, MAX_SCHEMA_BYTES = 48 << 10, 192 << 10  # bytes: both go into the first reply
# further examples after the first one; bytes of each
MAX_OTHER_EXAMPLES, MAX_OTHER_BYTES = 5, 2 << 10


def serve(directory: str, fd: int) -> None:
    """Load the model that directory/input.json names, then answer on the socket `fd` until it closes."""
    connection = socket.socket(fileno=fd)
    connection.set_inheritable(False)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # os._exit flushes nothing
    given = json.loads(Path(directory, "input.json").read_text(encoding="utf-8"))
    try:
        handshake, model = prepare_model(given)
        encoded = encode_json(fitting(handshake))
    except ModelError as fault:
        connection.sendall(encode_reply(0, HANDSHAKE, encode_json({"error": fault.to_dict()})))
        os._exit(1)
    gc.collect()
    gc.freeze()  # a first full collection over a model's objects stalls for 25 ms otherwise
    connection.sendall(encode_reply(0, HANDSHAKE, encoded))
    try:
        answer_requests(connection, model)
    except OSError:  # the gateway is gone
        pass
    finally:
        os._exit(0)  # no teardown of the interpreter: it takes 90 ms of CPU right after a switch


def fitting(hello: dict[str, Any]) -> dict[str, Any]:
    """Return the handshake within its limits: the first example that fits, small ones after it, the schema.

    Raises `ModelError` when the schema alone is too large.
    """
    schema = hello["schema"]
    if schema is not None and "examples" in schema and not is_within_limit(schema, MAX_SCHEMA_BYTES):
        schema = {name: value for name, value in schema.items() if name != "examples"}
    if not is_within_limit(schema, MAX_SCHEMA_BYTES):
        raise ModelError(
            f"the schema of predict()'s features has more than {MAX_SCHEMA_BYTES:,} bytes as JSON, or more "
            f'than {MAX_DEPTH} levels: give predict() a smaller type, or info() smaller "features"'
        )
    given = hello["examples"] or ()
    index = next(
        (index for index, example in enumerate(given) if is_within_limit(example, MAX_EXAMPLE_BYTES)), None
    )
    examples = None
    if index is not None:
        others = given[index + 1 : index + MAX_OTHER_EXAMPLES]
        examples = [
            given[index],
            *(example for example in others if is_within_limit(example, MAX_OTHER_BYTES)),
        ]
    if given and examples is None:
        sys.stderr.write(
            f"none of examples() has at most {MAX_EXAMPLE_BYTES:,} bytes as JSON: none is used\n"
        )
    return dict(hello, schema=schema, examples=examples)


def is_within_limit(value: Any, limit: int) -> bool:
    if is_deeper(value, MAX_DEPTH):
        return False
    encoded = encode_json(value)
    return len(encoded) <= limit and not has_surrogates(value, encoded)


def answer_requests(connection: socket.socket, model: LoadedModel) -> None:
    """Answer requests until the gateway closes."""
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
            connection.sendall(
                encode_reply(question, UNREADABLE, encode_json({"unreadable": format_error(error)}))
            )
            continue
        answers = predict_batch_or_none(model, rows)
        if answers is not None:
            connection.sendall(b"".join([of_row(question, answer) for answer in answers]))
            continue
        for row in json.loads(payload):  # fresh rows: predict_batch() may have changed its arguments
            connection.sendall(of_row(question, predict_row(model, row)))


def of_row(question: int, answer: str) -> bytes:
    if answer.startswith(PREFIX):
        return encode_reply(question, PREDICTION, answer[len(PREFIX) : -1])
    return encode_reply(question, ERROR, answer)


def encode_reply(question: int, kind: int, payload: str) -> bytes:
    return REPLY.pack(len(payload), question, kind) + payload.encode("ascii")
