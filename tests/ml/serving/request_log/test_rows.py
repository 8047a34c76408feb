"""What is stored of a row: as it was, without hidden fields, or without what cannot be stored."""

import json
import uuid
from typing import Any

import pytest

from ml.record_section import RecordSection
from ml.serving.request_log.fields import HASH_PREFIX, hash_value
from ml.serving.request_log.ids import IdMaker
from ml.serving.request_log.rows import MAX_VALUE_BYTES, PendingRow, Row, to_row

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
