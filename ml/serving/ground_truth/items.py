"""The items of a call: values with the predictions that they are for, each with its place for errors."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

import msgspec

from common.problems import ProblemError
from ml.serving.request_log.rows import DECODE_ERRORS, MAX_VALUE_BYTES, Decoded, decode

MAX_ITEMS = 10_000  # of a call
MAX_ROW = 2**31 - 1
MAX_ID_CHARS = 100
YEARS = range(1000, 9000)  # well within what Python can read in whatever zone Postgres answers
Source = Literal["person", "system", "model"]
SOURCES: tuple[Source, ...] = get_args(Source)
DECODER_PLACE = re.compile(r" - at `\$\.?(.*)`$")


class ItemError(ValueError):
    """An item that cannot be stored; `place` is the field at fault, where it is one."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place, self.message = place, message


class JsonItem(msgspec.Struct, forbid_unknown_fields=True):
    """An item as JSON has it."""

    prediction: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)]
    value: msgspec.Raw
    row: Annotated[int, msgspec.Meta(ge=0, le=MAX_ROW)] | None = None
    at: str | None = None
    source: Source = "system"


@dataclass(slots=True)
class Item:
    """One value, JSON or the text of a cell, and the row that it is for."""

    number: int  # in the call, from 0
    place: str  # for people: its number, or its line in a CSV
    prediction: str
    row: int | None
    value: Decoded | str
    observed_at: str | None
    source: Source


@dataclass(slots=True)
class ItemFault:
    """An item that was refused, and why."""

    number: int
    place: str
    message: str


@dataclass
class ParsedItems:
    """The items of a call, and those that are none."""

    items: list[Item] = field(default_factory=list)
    faults: list[ItemFault] = field(default_factory=list)
    count: int = 0

    def add_fault(self, place: str, error: ItemError) -> None:
        """Note the next item as one that cannot be read."""
        self.faults.append(ItemFault(self.count, join_place(place, error.place), error.message))


def join_place(place: str, column: str) -> str:
    """Return the place of a field in an item: `3.value`, or `line 5, value` of a CSV."""
    return f"{place}{', ' if place.startswith('line') else '.'}{column}" if column else place


def parse_json(body: bytes) -> ParsedItems:
    """Return the items of a JSON array; raises `ProblemError` where the body is none."""
    try:
        given = msgspec.json.decode(body, type=list[msgspec.Raw])
    except DECODE_ERRORS as error:
        detail = f'The body has to be an array of {{"prediction", "value"}} as JSON: {error}.'
        raise ProblemError(400, "The body is not JSON", detail) from error
    check_item_count(len(given))
    parsed = ParsedItems()
    for number, raw in enumerate(given):
        try:
            parsed.items.append(parse_json_item(number, raw))
        except ItemError as error:
            parsed.add_fault(str(number), error)
        parsed.count += 1
    return parsed


def parse_json_item(number: int, raw: msgspec.Raw) -> Item:
    try:
        one = msgspec.json.decode(raw, type=JsonItem)
    except DECODE_ERRORS as error:
        raise to_item_error(error) from error
    value, observed_at = decode_value(bytes(one.value)), parse_time(one.at)
    return Item(number, str(number), one.prediction, one.row, value, observed_at, one.source)


def to_item_error(error: Exception) -> ItemError:
    """Return the decoder's error with the place apart from the message."""
    found = DECODER_PLACE.search(str(error))
    place, message = (found[1], str(error)[: found.start()]) if found else ("", str(error))
    return ItemError(place, f"has to be one of {', '.join(SOURCES)}" if place == "source" else message)


def decode_value(text: bytes) -> Decoded:
    """Return a value that can be stored; raises `ItemError`."""
    if (value := decode(text)) is None:
        raise ItemError(
            "value",
            f"cannot be stored: it is longer than {MAX_VALUE_BYTES >> 10} KiB, nested deeper than 100, "
            "or has a NUL or a number out of range",
        )
    return value


def parse_time(text: str | None) -> str | None:
    """Return a time in UTC; raises `ItemError` where it is none, or has no zone."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ItemError("at", "has no time zone: end it with Z or an offset as +02:00")
        moment = at.astimezone(UTC)
        if moment.year not in YEARS:
            raise ItemError("at", "is out of range")
        return moment.isoformat()
    except OverflowError as error:
        raise ItemError("at", "is out of range") from error
    except ItemError:
        raise
    except ValueError as error:
        raise ItemError("at", "has to be a time of ISO 8601, as 2026-11-29T18:00:00Z") from error


def check_item_count(count: int) -> None:
    if count > MAX_ITEMS:
        detail = f"{count} values in one call, and at most {MAX_ITEMS} are taken: send them in several."
        raise ProblemError(413, "Too many values", detail)
