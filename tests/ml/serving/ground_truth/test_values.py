"""A value has to fit the kind of the release, and the answer that it is compared with."""

import json
from typing import Any

import pytest

from ml.serving.ground_truth.items import ItemError, decode_value
from ml.serving.ground_truth.values import encode_value, fit_value
from ml.serving.request_log.rows import Decoded

SERIES = [["2026-11-01", 1.5], ["2026-11-02", 2]]
FITS: list[tuple[str | None, str | None, Any]] = [
    ("regression", "number", 1),
    ("regression", None, -1.5e300),
    ("regression", None, 2**70),
    ("time-series", "array", 3),
    ("time-series", "array", SERIES),
    ("classification", "string", "cat"),
    ("classification", "number", 1),
    ("classification", "boolean", False),
    ("classification", "object", "cat"),
    ("classification", None, 0),
    ("generic", "number", {"any": [1, None, "x"]}),
    (None, None, None),
]
WRONG: list[tuple[str, str | None, Any]] = [
    ("regression", "number", "1"),
    ("regression", "number", True),
    ("regression", "number", None),
    ("regression", "number", [1]),
    ("regression", "number", 10**309),
    ("time-series", "array", "1"),
    ("time-series", "array", []),
    ("time-series", "array", [["2026-11-01", None]]),
    ("time-series", "array", [[1, 2]]),
    ("time-series", "array", [["2026-11-01", 1, 2]]),
    ("classification", "string", 1),
    ("classification", "number", "1"),
    ("classification", "number", True),
    ("classification", "boolean", 1),
    ("classification", "object", {"cat": 1}),
    ("classification", None, None),
    ("classification", None, ["cat"]),
]
CELLS: list[tuple[str | None, str | None, str, Any]] = [
    ("regression", "number", "007.50", 7.5),
    ("time-series", "array", "3", 3),
    ("time-series", "array", json.dumps(SERIES), SERIES),
    ("classification", "string", "1", "1"),
    ("classification", "string", "true", "true"),
    ("classification", "number", "1", 1),
    ("classification", "boolean", "True", True),
    ("classification", None, "cat", "cat"),
    ("classification", None, "[x", "[x"),
    ("generic", None, '{"a": 1}', {"a": 1}),
    ("generic", "string", '{"a": 1}', '{"a": 1}'),
]
WRONG_CELLS: list[tuple[str, str | None, str]] = [
    ("regression", "number", "NaN"),
    ("regression", "string", "inf"),
    ("regression", "number", "1e400"),
    ("regression", "number", "9" * 5000),
    ("regression", "number", "one"),
    ("classification", "number", "cat"),
    ("generic", None, "[1"),
    ("generic", "string", "a\x00b"),
    ("classification", None, "a\x00b"),
]
UNSTORABLE = (
    b'"a\\u0000b"',
    b"[" * 102 + b"]" * 102,
    b"[" * 100_000,
    b'"' + b"x" * 65_535 + b'"',
    b"1e400",
    b"9" * 5000,
    b"NaN",
    b"",
)


def given(value: Any) -> Decoded:
    return decode_value(json.dumps(value).encode())


@pytest.mark.parametrize(("kind", "label_type", "value"), FITS)
def test_a_value_that_fits_is_as_it_was(kind: str | None, label_type: str | None, value: Any) -> None:
    assert json.loads(encode_value(fit_value(given(value), kind, label_type))) == value


@pytest.mark.parametrize(("kind", "label_type", "value"), WRONG)
def test_a_value_of_another_type_is_refused(kind: str, label_type: str | None, value: Any) -> None:
    with pytest.raises(ItemError, match="has to be"):
        fit_value(given(value), kind, label_type)


@pytest.mark.parametrize(("kind", "label_type", "cell", "value"), CELLS)
def test_a_cell_is_read_as_what_fits(kind: str | None, label_type: str | None, cell: str, value: Any) -> None:
    fitted = fit_value(cell, kind, label_type)
    assert (fitted, type(fitted)) == (value, type(value))


@pytest.mark.parametrize(("kind", "label_type", "cell"), WRONG_CELLS)
def test_a_cell_that_does_not_fit_is_refused(kind: str, label_type: str | None, cell: str) -> None:
    with pytest.raises(ItemError):
        fit_value(cell, kind, label_type)


@pytest.mark.parametrize("text", UNSTORABLE)
def test_what_cannot_be_stored_is_refused(text: bytes) -> None:
    with pytest.raises(ItemError, match="cannot be stored"):
        decode_value(text)


def test_a_long_number_is_stored_short() -> None:
    assert encode_value(fit_value(decode_value(b"0." + b"0" * 60_000 + b"1"), "regression", None)) == "0.0"
