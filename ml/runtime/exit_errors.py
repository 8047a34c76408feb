"""Why a model's process gave no answer, and which limit it ran into."""

import signal
from collections.abc import Callable
from typing import Any

from common.errors import RejectedError, UnavailableError
from common.system.limit_checks import EXIT_OUT_OF_DISK, EXIT_OUT_OF_MEMORY, MAX_FILES
from common.text import make_storable
from common.units import format_gib
from ml.sandbox import sandbox
from ml.sandbox.sandbox import Sandbox

MAX_MESSAGE_CHARS = 2000  # characters of an error's text


def error_message(error: dict[str, Any], limits: Sandbox) -> str:
    """Return the model's own message, and the limit that it ran into."""
    message = make_storable(str(error["message"]), MAX_MESSAGE_CHARS)
    limit = LIMIT_MESSAGES.get(str(error.get("limit")))
    return f"{message}: {limit(limits)}" if limit else message


# what `ml/model_host/errors.py` calls a limit → the sentence that reports it
LIMIT_MESSAGES: dict[str, Callable[[Sandbox], str]] = {
    "memory": lambda held: (
        f"it ran out of its memory limit of {format_gib(held.memory)} ({held.memory_setting})"
    ),
    "file": lambda held: f"no file may be larger than {format_gib(held.file_size)} (SLIPWAY_FILE_SIZE)",
    "mlflow": lambda _: (
        "MLflow is closed to a model's code but for its own runs, which go to this model's experiment: leave "
        "that out. Slipway registers what train() returns"
    ),
    "processes": lambda held: f"it ran out of its limit of {held.processes} processes and threads",
    "closed": lambda _: (
        "the sandbox keeps that closed. A model reads its repository and its data, "
        "and writes below its HOME and TMPDIR. train() alone has a network"
    ),
}


def to_exit_error(what: str, code: int, limits: Sandbox) -> RejectedError | UnavailableError:
    """Return whose fault it is that there is no answer, from the exit code."""
    if code == sandbox.NOT_CONFINED_CODE:
        return UnavailableError(f"{what} could not be confined on this machine: see its log")
    return RejectedError(explain_exit(what, code, limits))


def explain_exit(what: str, code: int, limits: Sandbox) -> str:
    if code == EXIT_OUT_OF_MEMORY:
        return f"{what} was ended: {LIMIT_MESSAGES['memory'](limits)}"
    if code == EXIT_OUT_OF_DISK:
        limit = (
            f"{format_gib(limits.disk or 0)} (twice SLIPWAY_FILE_SIZE), "
            f"are more than {MAX_FILES:,}, or lie too deep"
        )
        return f"{what} was ended: its files hold more than {limit}"
    if code <= 128:
        return f"{what} ended its process with code {code}, without an answer: does it call os._exit?"
    name = signal.Signals(code - 128).name if code - 128 in list(signal.Signals) else f"signal {code - 128}"
    hint = {
        "SIGKILL": "has the machine run out of memory?",
        "SIGXFSZ": LIMIT_MESSAGES["file"](limits),
    }.get(name, f"a crash in a compiled library, or out of its memory limit of {format_gib(limits.memory)}?")
    return f"{what} was ended by {name}: {hint}"


def format_duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
