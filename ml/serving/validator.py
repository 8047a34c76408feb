"""The process that looks through large predictions: `python -I validator.py FD`, started by `validation`.

It reads frames of !I (bytes) and a JSON value, and answers each with one byte: 1 when it is JSON, else 0.
"""

import os
import socket
import struct
import sys

import msgspec

HEADER = struct.Struct("!I")
BEHIND_PREDICTIONS = 5  # of niceness: the gateway goes first

_any = msgspec.json.Decoder(msgspec.Raw)


def main(fd: int) -> None:
    """Answer until the other end closes."""
    os.nice(BEHIND_PREDICTIONS)
    with socket.socket(fileno=fd) as line, line.makefile("rb", buffering=1 << 16) as reader:
        while len(header := reader.read(HEADER.size)) == HEADER.size:
            (length,) = HEADER.unpack(header)
            payload = reader.read(length)
            if len(payload) < length:
                return
            line.sendall(b"\1" if is_json(payload) else b"\0")


def is_json(payload: bytes) -> bool:
    """Whether this is one JSON value, in ASCII as workers write it; no object is made of it.

    msgspec looks at the form alone: it lets bytes pass in a text that are no UTF-8.
    """
    try:
        _any.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return payload.isascii()


if __name__ == "__main__":
    main(int(sys.argv[1]))
