"""What is stored of a row: as it was, without hidden fields, or without what cannot be stored."""

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import text as sql
from sqlalchemy.orm import Session, sessionmaker

from ml.record_section import RecordSection
from ml.serving.request_log.fields import HASH_PREFIX, hash_value
from ml.serving.request_log.ids import IdMaker
from ml.serving.request_log.rows import MAX_VALUE_BYTES, PendingRow, Row, to_row

Sessions = sessionmaker[Session]
KEY = b"f" * 32


def stored(features: Any, answer: bytes | None = b"1", **rules: Any) -> Row:
    body = features if isinstance(features, bytes) else json.dumps(features).encode()
    call = IdMaker(KEY, "m").make(1)
    section = RecordSection(fields=rules)
    return to_row(PendingRow(call, 0, "m", 1, "predict", b"c", section, body, answer, None, 1.0), KEY)


def test_without_rules_a_row_is_stored_as_it_was() -> None:
    row = stored(b'{"a": 1.50, "b": [null]}', b"[2, 3]")
    assert (row["features"], row["answer"]) == ('{"a": 1.50, "b": [null]}', "[2, 3]")
    assert (row["is_whole"], row["is_reduced"]) == (True, False)


def test_null_is_a_value_and_no_missing_one() -> None:
    assert stored(None)["features"] == "null"
    assert stored(b"\xff")["features"] is None


def test_fields_are_dropped_and_hashed_at_any_depth() -> None:
    row = stored(
        {"ssn": 123, "who": {"mail": "a@b", "ssn": 4}, "x": [{"ssn": 5}, 6]}, ssn="drop", mail="hash"
    )

    hashed = hash_value(KEY, "m", "mail", "a@b")
    assert json.loads(row["features"]) == {"who": {"mail": hashed}, "x": [{}, 6]}
    assert hashed.startswith(HASH_PREFIX)
    assert (row["is_whole"], row["is_reduced"]) == (False, True)


def test_an_answer_that_repeats_a_field_loses_it_too() -> None:
    row = stored({"x": 1}, b'{"ssn": 123, "score": 2}', ssn="drop")
    assert json.loads(row["answer"]) == {"score": 2}
    assert (row["is_whole"], row["is_reduced"]) == (True, True)


@pytest.mark.parametrize("features", [[1, 2], "text", 3, [{"ssn": 1}]])
def test_of_features_without_names_nothing_is_stored(features: Any) -> None:
    """A rule cannot find its field in them."""
    row = stored(features, ssn="drop")
    assert (row["features"], row["is_whole"], row["is_reduced"]) == (None, False, True)


def test_rows_without_the_field_stay_whole() -> None:
    assert stored({"x": 1}, ssn="drop", mail="hash", x="keep")["is_whole"]


def test_hashes_depend_on_key_model_field_and_value() -> None:
    made = {
        hash_value(KEY, "m", "f", 1),
        hash_value(b"g" * 32, "m", "f", 1),
        hash_value(KEY, "n", "f", 1),
        hash_value(KEY, "m", "g", 1),
        hash_value(KEY, "m", "f", "1"),
        hash_value(KEY, "m", "f", 2),
    }
    assert len(made) == 6
    assert hash_value(KEY, "m", "f", 1.0) == hash_value(KEY, "m", "f", 1)


@pytest.mark.parametrize(
    "features",
    [
        b'"a\\u0000b"',
        b'{"a\\u0000": 1}',
        b'"\\ud800"',
        b"[" * 200 + b"]" * 200,
        b"[" * 100_000,
        b"1e400",
        b"9" * 5000,
        b'"' + b"x" * MAX_VALUE_BYTES + b'"',
        b'"\xff"',
        b"",
    ],
    ids=["nul", "nul in a name", "surrogate", "deep", "deeper", "float", "integer", "large", "bytes", "none"],
)
def test_what_cannot_be_stored_leaves_the_row(features: bytes) -> None:
    row = stored(features, features)
    assert (row["features"], row["answer"], row["is_whole"], row["is_reduced"]) == (None, None, False, False)
    assert uuid.UUID(row["id"]).version == 7


NUMBERS = [
    *("1e2", "1E2", "1.5e1", "1.50e1", "-1e-05", "1e22", "1e23", "-1.2e25", "1e308"),
    *("1.7976931348623157e308", "1.0", "-0.0", "-0", "5e-324", "1e-400", "1e0"),
    *("0.1234567890123456789012345", "123456789012345678901234567890"),
    *("18446744073709551616", "-9223372036854775809", "9007199254740993", "9007199254740993.0"),
]
EQUAL_FORMS = [
    '{"a": 1, "a": 2}',
    '{"b": {"a": 1e2, "a": 3}, "a": [1.0, {}]}',
    '"1e23"',
    '["a1e23", 2.50]',
    '"\\u00e9"',
    '{"long name": 1, "b": 2}',
]


@pytest.mark.parametrize("text", NUMBERS + EQUAL_FORMS)
def test_what_is_whole_comes_back_equal(sessions: Sessions, text: str) -> None:
    row = stored(f'{{"x": {text}}}'.encode())
    with sessions.begin() as session:
        found = session.scalar(sql("SELECT CAST(:features AS jsonb)"), {"features": row["features"]})
        written = session.scalar(sql("SELECT CAST(CAST(:features AS jsonb) AS text)"), row)

    is_equal = found == json.loads(f'{{"x": {text}}}')
    assert row["is_whole"] is is_equal
    assert is_equal is (text not in ("1e23", "-1.2e25", "1e308", "1.7976931348623157e308"))
    assert len(written) <= MAX_VALUE_BYTES


@pytest.mark.parametrize("text", ["1e-16000", "1e-99999999999", f"[{', '.join(['1e-300'] * 300)}]"])
def test_numbers_that_postgres_writes_longer_are_not_stored(text: str) -> None:
    """64 KiB of them would be 100 MB for whoever reads the row."""
    text = text if text != "1e-16000" else f"[{', '.join([text] * 5)}]"
    row = stored(f'{{"x": {text}}}'.encode(), f"[{text}]".encode())
    assert (row["features"], row["answer"], row["is_whole"]) == (None, None, False)


def test_an_escaped_backslash_is_no_nul() -> None:
    assert stored(b'"a\\\\u0000"')["is_whole"]


def test_the_stricter_rule_wins_between_two_releases() -> None:
    one = RecordSection(sample=0.5, fields={"a": "drop", "b": "keep"})
    other = RecordSection(enabled=False, fields={"a": "hash", "b": "hash", "c": "drop"})
    assert one.narrow(other) == RecordSection(
        enabled=False, sample=0.5, fields={"a": "drop", "b": "hash", "c": "drop"}
    )


def test_the_operators_word_wins_field_by_field() -> None:
    operator = RecordSection(sample=1, fields={"a": "keep"})
    declared = RecordSection(enabled=False, sample=0.1, fields={"a": "drop", "b": "drop"})
    assert operator.with_defaults(declared) == RecordSection(
        enabled=False, sample=1, fields={"a": "keep", "b": "drop"}
    )
