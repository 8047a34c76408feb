"""The rows of the table, made of calls: as they were, or without what may not or cannot be stored."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from common.text import make_storable
from ml.model_host.to_json import MAX_DEPTH, is_deeper
from ml.record_section import RecordSection
from ml.serving.request_log.fields import apply_rules, has_named_fields
from ml.serving.request_log.ids import CallId
from ml.serving.request_log.stored_numbers import StoredNumbers

MAX_ERROR_CHARS = 200
MAX_VALUE_BYTES = 64 << 10  # of features, and of an answer; a longer one is not stored
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # as JSON writes it; Postgres stores none
DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)

Row = dict[str, Any]


@dataclass(slots=True)
class PendingRow:
    """One row of a call, as it waits to be written."""

    call_id: CallId
    row: int
    model: str
    release: int
    route: str
    client_id: bytes
    rules: RecordSection
    features: bytes
    answer: bytes | None  # JSON; None where it is too large, or where there is an error
    error: str | None
    milliseconds: float

    @property
    def size(self) -> int:
        return len(self.features) + len(self.answer or b"") + 200


def to_row(pending: PendingRow, fields_key: bytes) -> Row:
    """Return what is stored of a row; slow for large ones."""
    rules = pending.rules.hidden_fields
    features, answer = decode(pending.features), decode(pending.answer)
    kept, kept_answer = features, answer
    if rules:
        if isinstance(features, Decoded):
            kept = reduce_features(features, pending, fields_key)
        if isinstance(answer, Decoded):
            kept_answer = answer.replaced(apply_rules(answer.value, rules, fields_key, pending.model))
    return {
        "id": str(pending.call_id.uuid),
        "row": pending.row,
        "at": pending.call_id.at,
        "model": pending.model,
        "release_id": pending.release,
        "route": pending.route,
        "client_id": pending.client_id.decode("latin-1"),
        "features": kept.text if kept else None,
        "answer": kept_answer.text if kept_answer else None,
        "error": None if pending.error is None else make_storable(pending.error, MAX_ERROR_CHARS),
        "milliseconds": pending.milliseconds,
        "is_whole": features is not None and kept is features and features.is_preserved,
        "is_reduced": kept is not features or kept_answer is not answer,
    }


@dataclass(frozen=True, slots=True)
class Decoded:
    """A JSON value and its text; preserved when what Postgres returns of it is equal."""

    value: Any
    text: str
    is_preserved: bool = True

    def replaced(self, value: Any) -> "Decoded":
        return self if value is self.value else Decoded(value, msgspec.json.encode(value).decode())


def decode(text: bytes | None) -> Decoded | None:
    """Return JSON that can be stored; None when it is too large, too deep or no JSON (a worker is untrusted).

    It is as large as Postgres writes it: `1e-16000` has 16,002 digits there. The depth is checked although it
    was decoded: what reads it may have more frames on the stack.
    """
    if text is None or len(text) > MAX_VALUE_BYTES or (b"\\u0000" in text and NUL.search(text)):
        return None
    try:
        value = msgspec.json.decode(text)
        if is_deeper(value, MAX_DEPTH):
            return None
        numbers = StoredNumbers(text)
        if len(text) + numbers.added_chars > MAX_VALUE_BYTES:
            return None
        return Decoded(value, text.decode(), numbers.are_equal)
    except DECODE_ERRORS:
        return None


def reduce_features(features: Decoded, pending: PendingRow, fields_key: bytes) -> Decoded | None:
    """Return features without what a rule hides; None where fields have no names, so that none is found."""
    if not has_named_fields(features.value):
        return None
    rules = pending.rules.hidden_fields
    return features.replaced(apply_rules(features.value, rules, fields_key, pending.model))


def without_values(row: Row) -> Row:
    """Return a row whose values Postgres refused, without them."""
    return {**row, "features": None, "answer": None, "is_whole": False}
