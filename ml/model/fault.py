"""The one error of this folder: what the model did wrong, in a sentence for its author."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable
from typing import Any

NUMBERS = {
    errno.ENOMEM: "memory",
    errno.EFBIG: "file",
    errno.ENOSPC: "disk",
    errno.EDQUOT: "disk",
    errno.EAGAIN: "processes",
    errno.EACCES: "closed",
    errno.EPERM: "closed",
    errno.EROFS: "closed",
}


class Fault(Exception):
    """The model's fault; the text says what happened and what to do, `limit` which limit it ran into."""

    limit: str | None = None

    def document(self) -> dict[str, str | None]:
        message = str(self).encode("utf-8", "backslashreplace").decode()  # half a character is no JSON
        return {"message": message, "limit": self.limit}


def call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the model's `function` gives; whatever it raises, leaving included, becomes a `Fault`."""
    try:
        return function(*arguments)
    except SystemExit as error:
        traceback.print_exc(file=sys.stderr)
        raise Fault(f"{name} left the process: sys.exit({error.code!r})") from error
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        fault = Fault(f"{name} raised {describe(error)}")
        fault.limit = limit_of(error)
        raise fault from error


def limit_of(error: BaseException | None) -> str | None:
    """Which of the sandbox's limits an error tells of, itself or what it was raised from."""
    for _ in range(20):  # a chain may be a ring
        if error is None:
            return None
        if isinstance(error, MemoryError):
            return "memory"
        if isinstance(error, OSError) and error.errno in NUMBERS:
            return NUMBERS[error.errno]
        if isinstance(error, RuntimeError) and "start new thread" in describe(error):
            return "processes"
        error = error.__cause__ or error.__context__
    return None


def describe(error: BaseException, limit: int = 500) -> str:
    """`KeyError: 'Page'`, also where the error's own `__str__` raises."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (a hostile __str__)
        text = "(its message cannot be shown)"
    text = text if len(text) <= limit else text[:limit] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
