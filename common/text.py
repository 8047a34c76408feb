"""Untrusted text and JSON made into what Postgres can store and a terminal can show."""

import math
import re
from typing import Any

MAX_TEXT_CHARS = 16 << 20  # characters
MAX_INTEGER_BITS = 1023  # of an integer

# NUL and other control characters but tab and newline, surrogates, and characters that reverse text
_UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def first_line(text: str, otherwise: str = "") -> str:
    """Return the first line of `text` that is not blank, or `otherwise` when there is none."""
    return next(iter(text.strip().splitlines()), otherwise)


def make_storable(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    r"""Return `text` with unstorable characters escaped (`\x00`), cut after `limit` characters."""
    if len(text) > limit:
        text = text[:limit] + "…"
    return _UNSTORABLE.sub(_escape, text)


def make_json_storable(value: Any) -> Any:
    """Apply `make_storable` to every text and key in JSON; NaN, infinity and huge integers become text.

    No float holds an integer of more than `MAX_INTEGER_BITS`: readers would fail on it.
    """
    if isinstance(value, str):
        return make_storable(value)
    if isinstance(value, dict):
        return {make_storable(str(key)): make_json_storable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_json_storable(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        return hex(value)  # linear in time; Python refuses to write some in decimals
    return value


def _escape(found: re.Match[str]) -> str:
    return ascii(found.group())[1:-1]
