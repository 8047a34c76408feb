"""What becomes of text that Postgres cannot store."""

import json

import pytest

from common.text import first_line, make_json_storable, make_storable


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("as it is: é, 日本, 😀,\ttab\nline", "as it is: é, 日本, 😀,\ttab\nline"),
        ("a\0b", r"a\x00b"),
        ("\x1b[31m\r\x7f\x9b", r"\x1b[31m\r\x7f\x9b"),
        ("half \ud83d of one", r"half \ud83d of one"),
        ("\u202eturned", r"\u202eturned"),
    ],
)
def test_what_cannot_be_stored_becomes_visible(given: str, stored: str) -> None:
    assert make_storable(given) == stored


def test_long_text_is_cut() -> None:
    assert make_storable("\0" * 10, 3) == r"\x00\x00\x00…"


def test_json_keeps_its_form() -> None:
    given = {"a\0": [1, None, True, "b\0", {"c": 1.5}], "n": float("nan")}

    assert make_json_storable(given) == {r"a\x00": [1, None, True, r"b\x00", {"c": 1.5}], "n": "nan"}


@pytest.mark.parametrize("number", [2**1023, -(10**400), 10**5000], ids=["just", "negative", "many digits"])
def test_a_number_that_no_float_holds_becomes_text(number: int) -> None:
    (stored,) = make_json_storable([number])

    assert int(stored, 16) == number
    json.dumps(stored)


def test_a_number_that_a_float_holds_stays_one() -> None:
    assert make_json_storable([2**1023 - 1, 1e308]) == [2**1023 - 1, 1e308]


def test_the_first_line_of_a_text_is_never_blank() -> None:
    assert first_line("\n  FATAL: no\nHINT: yes") == "FATAL: no"
    assert first_line(" \n", "no answer") == "no answer"
