"""The choice of how a column is compared, by its values in the baseline; standard library only."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ml.monitor.drift.values import Kind, is_date, is_number, list_present, name_category, name_type

MAX_NUMBER_CODES = 10  # different numbers that are taken for codes of categories
MIN_ROWS_PER_CODE = 5
MAX_CATEGORIES = 1000
MAX_SINGLE_SHARE = 0.05  # of rows with a value that no other row has: beyond, new values are the rule
MIN_DATE_SHARE = 0.95


def choose_kind(values: Sequence[Any]) -> Kind:
    """Return the kind of a column by its values in the baseline."""
    present = list_present(values)
    if not present:
        return Kind.CATEGORY
    types = Counter(map(name_type, present))
    nested = types["object"] + types["list"] + types["other"]
    if 2 * nested >= len(present):
        return Kind.NESTED
    numbers = types["number"]
    if 2 * numbers >= len(present) and not has_few_codes(present, numbers):
        return Kind.NUMBER
    return Kind.CATEGORY if has_categories(present) else Kind.TEXT


def has_few_codes(present: Sequence[Any], numbers: int) -> bool:
    """Return whether the numbers are so few different ones that they are codes, as 0 and 1."""
    codes = {name_category(value) for value in present if is_number(value)}
    return len(codes) <= min(MAX_NUMBER_CODES, numbers / MIN_ROWS_PER_CODE)


def has_categories(present: Sequence[Any]) -> bool:
    """Return whether values come again, so that a new one is news. Dates never are: time passes."""
    if sum(map(is_date, present)) >= MIN_DATE_SHARE * len(present):
        return False
    counts = Counter(map(name_category, present))
    single = sum(count == 1 for count in counts.values())
    return len(counts) <= MAX_CATEGORIES and single <= MAX_SINGLE_SHARE * len(present)
