"""The items of a call that is CSV; its first line names the columns."""

import csv
import io
from collections.abc import Iterator

from common.problems import ProblemError
from ml.serving.ground_truth.items import (
    MAX_ID_CHARS,
    MAX_ROW,
    SOURCES,
    Item,
    ItemError,
    ParsedItems,
    check_item_count,
    parse_time,
)

REQUIRED_COLUMNS = ("prediction", "value")
COLUMNS = (*REQUIRED_COLUMNS, "row", "at", "source")


def parse_csv(body: bytes) -> ParsedItems:
    """Return the items of a CSV, whose places are its lines; raises `ProblemError` where it is none."""
    parsed, lines = ParsedItems(), read_lines(body)
    _, names = next(lines, (1, []))
    check_columns(names)
    for number, cells in lines:
        check_item_count(parsed.count + 1)
        place = f"line {number}"
        try:
            if len(cells) != len(names):
                raise ItemError("", f"has {len(cells)} values, and there are {len(names)} columns")
            parsed.items.append(parse_cells(parsed.count, place, dict(zip(names, cells, strict=True))))
        except ItemError as error:
            parsed.add_fault(place, error)
        parsed.count += 1
    return parsed


def read_lines(body: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV that are not empty, each with the number of its last line."""
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except UnicodeDecodeError as error:
        detail = f"Byte {error.start} is not UTF-8: send the table in that encoding."
        raise ProblemError(400, "The body is not CSV", detail) from error
    except csv.Error as error:
        detail = f"Line {reader.line_num} cannot be parsed: {error}."
        raise ProblemError(400, "The body is not CSV", detail) from error


def check_columns(names: list[str]) -> None:
    if not (set(REQUIRED_COLUMNS) <= set(names) <= set(COLUMNS)) or len(set(names)) < len(names):
        listed = ",".join(name[:50] for name in names[:10])
        detail = f"Its first line has to be prediction,value and maybe row, at and source, not {listed!r}."
        raise ProblemError(422, "Other columns than those of ground truth", detail)


def parse_cells(number: int, place: str, cells: dict[str, str]) -> Item:
    prediction, row, source = cells["prediction"], cells.get("row"), cells.get("source") or "system"
    if not 1 <= len(prediction) <= MAX_ID_CHARS:
        raise ItemError("prediction", f"has to be 1 to {MAX_ID_CHARS} characters long")
    if not cells["value"]:
        raise ItemError("value", "is empty")
    if source not in SOURCES:
        raise ItemError("source", f"has to be one of {', '.join(SOURCES)}")
    return Item(
        number,
        place,
        prediction,
        parse_row(row) if row else None,
        cells["value"],
        parse_time(cells.get("at") or None),
        source,
    )


def parse_row(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= MAX_ROW):
        raise ItemError("row", "has to be a number from 0")
    return int(text)
