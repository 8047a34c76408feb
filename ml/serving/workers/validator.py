"""The process that validates large predictions: `python -I validator.py FD`, started by `validation`.

It reads frames of !I (bytes) and a JSON value, and answers each with one byte: 1 when it is JSON, else 0.
"""

import os
import socket
import struct
import sys

import msgspec

FRAME_HEADER = struct.Struct("!I")
NICENESS = 5  # the gateway goes first

_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def main(fd: int) -> None:
    """Reply to frames until the other end closes."""
    os.nice(NICENESS)
    with socket.socket(fileno=fd) as line, line.makefile("rb", buffering=1 << 16) as reader:
        while len(header := reader.read(FRAME_HEADER.size)) == FRAME_HEADER.size:
            (length,) = FRAME_HEADER.unpack(header)
            payload = reader.read(length)
            if len(payload) < length:
                return
            line.sendall(b"\1" if is_json(payload) else b"\0")


def is_json(payload: bytes) -> bool:
    """Return True for one JSON value, in ASCII as workers write it; no object is created.

    msgspec checks the form alone: it accepts bytes in a text that are not UTF-8.
    """
    try:
        _raw_decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return payload.isascii()


if __name__ == "__main__":
    main(int(sys.argv[1]))
