"""Foreign text and JSON made into what Postgres can store and a terminal can show."""

import math
import re
from typing import Any

MAX_TEXT = 16 << 20  # characters
LARGEST_BITS = 1023  # of a whole number

# NUL and other control characters but tab and newline, halves of characters, and what turns text around
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def make_storable(text: str, limit: int = MAX_TEXT) -> str:
    r"""`text` with what cannot be stored or shown as its escape (`\x00`), cut after `limit` characters."""
    if len(text) > limit:
        text = text[:limit] + "…"
    return _UNFIT.sub(_escape, text)


def make_json_storable(value: Any) -> Any:
    """The same of every text and key in JSON; NaN, infinity and what is larger become text.

    No float holds a whole number of more than `LARGEST_BITS`: who reads it would fail.
    """
    if isinstance(value, str):
        return make_storable(value)
    if isinstance(value, dict):
        return {make_storable(str(key)): make_json_storable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_json_storable(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > LARGEST_BITS:
        return hex(value)  # in time; Python refuses to write some in decimals
    return value


def _escape(found: re.Match[str]) -> str:
    return ascii(found.group())[1:-1]
