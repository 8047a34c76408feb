"""The one error of this folder: what the model did wrong, in a sentence for its author."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any


class Fault(Exception):
    """The model's fault; the text says what happened and what to do."""


def call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the model's `function` gives; whatever it raises, leaving included, becomes a `Fault`."""
    try:
        return function(*arguments)
    except SystemExit as error:
        traceback.print_exc(file=sys.stderr)
        raise Fault(f"{name} left the process: sys.exit({error.code!r})") from error
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        raise Fault(f"{name} raised {describe(error)}") from error


def describe(error: BaseException, limit: int = 500) -> str:
    """`KeyError: 'Page'`, also where the error's own `__str__` raises."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (a hostile __str__)
        text = "(its message cannot be shown)"
    text = text if len(text) <= limit else text[:limit] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
