"""Reads of what a child process prints, within bounds: servers and repositories decide how much that is."""

import os
import selectors
import subprocess
import time
from typing import Any

CHUNK_BYTES = 1 << 16
MAX_STDERR_BYTES = 64 << 10  # the last ones: they name the cause


class OutputTooLongError(Exception):
    """A process that printed more than it may."""


def read_output(process: "subprocess.Popen[Any]", max_bytes: int, timeout: float) -> tuple[bytes, bytes]:
    """Return a process's stdout and the last of its stderr, once it has ended.

    Raises `OutputTooLongError` for more than `max_bytes` on stdout, and `subprocess.TimeoutExpired`. The
    process then still runs.
    """
    until = time.monotonic() + timeout
    assert process.stdout and process.stderr
    out, wrong = bytearray(), bytearray()
    with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, wrong)
        while selector.get_map():
            remaining = until - time.monotonic()
            if remaining <= 0:  # also of a process that never stops printing
                raise subprocess.TimeoutExpired(process.args, timeout)
            for key, _ in selector.select(remaining):
                if chunk := os.read(key.fd, CHUNK_BYTES):
                    key.data.extend(chunk)
                else:
                    selector.unregister(key.fileobj)
            del wrong[:-MAX_STDERR_BYTES]
            if len(out) > max_bytes:
                raise OutputTooLongError
    process.wait(max(0.0, until - time.monotonic()))
    return bytes(out), bytes(wrong)
