"""A file of ground truth, of any size, in batches that one call takes: CSV, or an item of JSON a line."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from cli.errors import UserError

MAX_BATCH_ITEMS, MAX_BATCH_BYTES = 10_000, 4 << 20
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Line:
    """An item of a file: the number of its line, and its text, or why it cannot be sent."""

    number: int
    text: bytes
    fault: str | None = None


class BatchFormat(Protocol):
    """A form of files, and of the bodies that their items are sent in."""

    content_type: str

    def read(self, file: BinaryIO) -> Iterator[Line]: ...
    def join_lines(self, lines: Sequence[Line]) -> bytes: ...


class JsonLines:
    """An object of JSON a line."""

    content_type = "application/json"

    def read(self, file: BinaryIO) -> Iterator[Line]:
        """Yield the lines that are not empty."""
        for number, text in enumerate(read_bounded_lines(file), start=1):
            if text.strip():
                yield Line(number, text.strip(), explain_not_item(text))

    def join_lines(self, lines: Sequence[Line]) -> bytes:
        return b"[" + b",".join(line.text for line in lines) + b"]"


@dataclass
class CsvTable:
    """A table whose first line names the columns, which are sent with each batch."""

    content_type = "text/csv"
    header: bytes = field(default=b"", init=False)

    def read(self, file: BinaryIO) -> Iterator[Line]:
        """Yield the rows; raises `UserError` where the rest cannot be read."""
        reader = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline="", write_through=True), strict=True)
        try:
            for cells in reader:
                if not cells:
                    continue
                if not self.header:
                    self.header = format_cells(cells)
                else:
                    yield Line(reader.line_num, format_cells(cells))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"line {reader.line_num + 1} is no CSV: {error}") from error

    def join_lines(self, lines: Sequence[Line]) -> bytes:
        return self.header + b"".join(line.text for line in lines)


def format_cells(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def read_bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of one that is too long only the beginning, as no more is held in memory."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while rest and not rest.endswith(b"\n") and len(rest) > MAX_LINE_BYTES:
            rest = file.readline(MAX_LINE_BYTES + 1)
        yield line


def explain_not_item(text: bytes) -> str | None:
    """Return why a line is no item; None where the appliance judges it."""
    if len(text) > MAX_LINE_BYTES:
        return "is longer than 1 MiB"
    try:
        item = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        return f"is no JSON: {error}"
    return None if isinstance(item, dict) else "is no object of JSON"


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def split_batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Yield lines in batches, bounded in number and bytes."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == MAX_BATCH_ITEMS or size + len(line.text) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.text) + 1
    if batch:
        yield batch
