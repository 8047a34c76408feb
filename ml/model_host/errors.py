"""The one error of this folder: the model's fault, in a sentence for its author."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable
from typing import Any

LIMIT_BY_ERRNO = {
    errno.ENOMEM: "memory",
    errno.EFBIG: "file",
    errno.ENOSPC: "disk",
    errno.EDQUOT: "disk",
    errno.EAGAIN: "processes",
    errno.EACCES: "closed",
    errno.EPERM: "closed",
    errno.EROFS: "closed",
}


class ModelError(Exception):
    """A fault of the model; the text has the event and the remedy, `limit` the limit that was reached."""

    limit: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        message = str(self).encode("utf-8", "backslashreplace").decode()  # half a character is no JSON
        return {"message": message, "limit": self.limit}


def call_model(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the model's `function`; whatever it raises, sys.exit() included, becomes a `ModelError`."""
    try:
        return function(*arguments)
    except SystemExit as error:
        traceback.print_exc(file=sys.stderr)
        raise ModelError(f"{name} left the process: sys.exit({error.code!r})") from error
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        fault = ModelError(f"{name} raised {describe_error(error)}")
        fault.limit = find_limit(error)
        raise fault from error


def find_limit(error: BaseException | None) -> str | None:
    """Return the sandbox limit that an error, or the one that it was raised from, results from."""
    for _ in range(20):  # a chain may be a ring
        if error is None:
            return None
        if isinstance(error, MemoryError):
            return "memory"
        if isinstance(error, OSError) and error.errno in LIMIT_BY_ERRNO:
            return LIMIT_BY_ERRNO[error.errno]
        if type(error).__module__.startswith("mlflow.") and "PERMISSION_DENIED" in describe_error(error):
            return "mlflow"
        if isinstance(error, RuntimeError) and "start new thread" in describe_error(error):
            return "processes"
        error = error.__cause__ or error.__context__
    return None


def describe_error(error: BaseException, limit: int = 500) -> str:
    """Return an error as `KeyError: 'Page'`, also where the error's own `__str__` raises."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (a hostile __str__)
        text = "(its message cannot be shown)"
    text = text if len(text) <= limit else text[:limit] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
