"""The files that recorded rows are written to, each row at a time."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import RejectedError
from common.units import format_bytes
from db.recorded_rows import LabelledRow
from ml.sources.recorded.columns import ColumnCounts, find_kind, is_plain

CHECKED_ROWS = 1000  # between two looks at the size of the file
MAX_INTEGER = 2**63 - 1  # beyond it pandas reads a column as text
FEATURES = "features"  # the column of features that are no object

Entry = list[Any]  # time, features, value


@dataclass
class Written:
    """Count what a file has: rows with the times of the first and the last, and how many were left out."""

    rows: int = 0
    begin: str = ""
    end: str = ""
    left_out: int = 0

    def count(self, at: str) -> None:
        self.rows, self.begin, self.end = self.rows + 1, self.begin or at, at


@dataclass(frozen=True)
class TableWriter:
    """The writer of one data set: `usual` are the columns that the repository's own file has."""

    target: str
    usual: Sequence[str]
    max_bytes: int

    def write_csv(self, rows: Iterable[LabelledRow], file: Path) -> Written:
        """Write a table with a column for each feature, for pandas; rows that are no table are left out.

        Which columns there are is known at the end: until then the rows are in a file of their own.
        """
        spool, counts = file.with_suffix(".rows"), ColumnCounts(self.target)
        try:
            total = self._write_lines(spool, self._spool_rows(rows, counts))
            columns = counts.choose_columns(self.usual)
            kinds = counts.find_main_kinds(columns)
            written = Written()
            with file.open("w", newline="", encoding="utf-8") as output:
                writer = csv.writer(output, lineterminator="\n")
                writer.writerow(columns)
                for number, (at, features, value) in enumerate(read_entries(spool)):
                    cells = [{**features, self.target: value}.get(name) for name in columns]
                    if all(map(fits, cells, (kinds.get(name) for name in columns))):
                        writer.writerow(map(format_cell, cells))
                        written.count(at)
                    self._check_size(number, file)
        finally:
            spool.unlink(missing_ok=True)
        written.left_out = total - written.rows
        return written

    def write_json(self, rows: Iterable[LabelledRow], file: Path) -> Written:
        """Write an array of objects: the features of each row, and its target."""
        written = Written()

        def lines() -> Iterator[str]:
            for row in rows:
                features = row.features if isinstance(row.features, dict) else {FEATURES: row.features}
                document = to_readable({**features, self.target: row.value})
                text = json.dumps(document, ensure_ascii=False, sort_keys=True)
                yield f"{',' if written.rows else '['}\n{text}"
                written.count(row.at.isoformat())
            yield "\n]\n" if written.rows else "[]\n"

        self._write_lines(file, lines())
        return written

    def _spool_rows(self, rows: Iterable[LabelledRow], counts: ColumnCounts) -> Iterator[str]:
        """Yield each row as a line of JSON; an empty line is a row that is no table."""
        for row in rows:
            features = row.features
            is_table = isinstance(features, dict) and all(map(is_plain, features.values()))
            if is_table and is_plain(row.value) and row.value is not None:
                counts.add(features, row.value)
                yield json.dumps([row.at.isoformat(), features, row.value]) + "\n"
            else:
                yield "\n"

    def _write_lines(self, file: Path, lines: Iterable[str]) -> int:
        number = 0
        with file.open("w", encoding="utf-8") as output:
            for number, text in enumerate(lines, 1):
                output.write(text)
                self._check_size(number, file)
        return number

    def _check_size(self, number: int, file: Path) -> None:
        if number % CHECKED_ROWS == 0 and file.stat().st_size > self.max_bytes:
            raise RejectedError(
                f"slipway://recorded is larger than the {format_bytes(self.max_bytes)} that this appliance "
                "takes: name fewer days, or have the operator raise SLIPWAY_DATA_LIMIT"
            )


def read_entries(spool: Path) -> Iterator[Entry]:
    with spool.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line != "\n")


def fits(cell: Any, kind: str | None) -> bool:
    """Return whether a cell has the kind of its column, and pandas can read it as that."""
    if cell is None:
        return True
    return (kind is None or find_kind(cell) == kind) and is_readable(cell)


def is_readable(cell: Any) -> bool:
    try:
        return not isinstance(cell, int | float) or math.isfinite(cell)
    except OverflowError:  # an integer beyond all floats
        return False


def format_cell(cell: Any) -> str:
    """Return a cell's text; pandas would read a column with a large integer as text."""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return "" if cell is None else str(cell)
    return repr(to_readable(cell))


def to_readable(value: Any) -> Any:
    """Return a JSON value with large integers as floats."""
    match value:
        case bool():
            return value
        case int() if abs(value) > MAX_INTEGER:
            return float(value) if is_readable(value) else None
        case list():
            return [to_readable(one) for one in value]
        case dict():
            return {name: to_readable(one) for name, one in value.items()}
    return value
