"""A program of the monitor's own environment: a request of lines goes in, one JSON document comes out."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from common.text import first_line

MAX_SECONDS = 900.0  # also on a busy machine: a program bounds its own processor time
MAX_MESSAGE_CHARS = 500


class MeasurementError(Exception):
    """A measurement that could not be made; the text has the reason, for a person."""


def run_program(command: Sequence[str], lines: Iterable[str], timeout: float = MAX_SECONDS) -> Any:
    """Return what a program answers to these lines; raises `MeasurementError`."""
    request = "\n".join(lines).encode()
    try:
        ended = subprocess.run(command, input=request, capture_output=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"it was ended after {timeout:g} s: the machine is too busy") from None
    except OSError as error:
        raise MeasurementError(f"its program cannot be started: {error.strerror}") from error
    if ended.returncode:
        message = first_line(ended.stderr.decode(errors="replace")[-MAX_MESSAGE_CHARS:], "")
        raise MeasurementError(message or f"its program ended ({ended.returncode}): is there enough memory?")
    with suppress(ValueError):
        return json.loads(ended.stdout)
    raise MeasurementError("its program gave no answer: is there enough memory?")
