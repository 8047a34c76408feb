"""What Postgres makes of the numbers in JSON: its JSONB has decimals, written without an exponent."""

import json
import re
from decimal import Decimal

HAS_EXPONENT = re.compile(rb"\d[eE][+-]?\d")
MAX_DIGITS = 400  # that a number with an exponent may add: more than any double has


class StoredNumbers:
    """The numbers of a text of JSON as JSONB returns them: how much longer they are, and if they are equal.

    `1e23` comes back as an integer of 24 digits, which is not equal to that double.
    """

    def __init__(self, text: bytes) -> None:
        self.added_chars, self.are_equal = 0, True
        if HAS_EXPONENT.search(text):
            json.loads(text, parse_float=self._read)

    def _read(self, token: str) -> float:
        number = float(token)
        _, has_exponent, exponent = token.lower().partition("e")
        if not has_exponent:
            return number
        self.added_chars += abs(int(exponent))
        if abs(int(exponent)) <= MAX_DIGITS:
            exact = Decimal(token)
            scale = exact.as_tuple().exponent  # Postgres writes a point where this is negative
            self.are_equal &= not (isinstance(scale, int) and scale >= 0) or int(exact) == number
        return number
