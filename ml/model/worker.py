"""Holds one release's model and answers predictions: the model's side of the wire to the gateway.

Frames, both ways: !II (bytes of payload, id of the frame), then the payload, JSON.

    first, id 0    {"examples": [...] | null, "schema": {...} | null, "batch": bool, "load": bool}
                   or {"error": {"message"}} when the model could not be loaded; then this process ends
    a question     [features, ...]: what users sent, as they sent it; the empty array is a ping
    its answers    with the same id, in order, one or more to a frame:
                   [{"prediction": ...} | {"error": {"type", "message"}} | {"invalid": message}, ...]
                   or {"unreadable": message} when Python cannot read the question

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

from .fault import Fault
from .predict import Model, encode, one, prepare, text, together

HEADER = struct.Struct("!II")


def serve(directory: str, fd: int) -> None:
    """Load the model that directory/input.json names, then answer on the socket `fd` until it closes."""
    connection = socket.socket(fileno=fd)
    connection.set_inheritable(False)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # os._exit flushes nothing
    given = json.loads(Path(directory, "input.json").read_text(encoding="utf-8"))
    try:
        hello, model = prepare(given)
    except Fault as fault:
        send(connection, 0, encode({"error": fault.document()}))
        os._exit(1)
    gc.collect()
    gc.freeze()  # a first full collection over a model's objects stalls for 25 ms otherwise
    send(connection, 0, encode(hello))
    try:
        converse(connection, model)
    except OSError:  # the gateway is gone
        pass
    finally:
        os._exit(0)  # no teardown of the interpreter: it takes 90 ms of CPU right after a switch


def converse(connection: socket.socket, model: Model) -> None:
    """Answer frame after frame, until the gateway closes."""
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
            send(connection, frame, encode({"unreadable": text(error)}))
            continue
        answers = together(model, rows)
        if answers is not None or not rows:
            send(connection, frame, "[" + ",".join(answers or ()) + "]")
            continue
        for row in rows:
            send(connection, frame, "[" + one(model, row) + "]")


def send(connection: socket.socket, frame: int, payload: str) -> None:
    connection.sendall(HEADER.pack(len(payload), frame) + payload.encode("ascii"))
