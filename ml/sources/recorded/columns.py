"""The columns of a table of recorded rows, and which rows fit them: what clients sent is not trusted."""

import csv
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.system.plain_file import read_start
from ml.sources.fingerprint import is_inside

MAX_COLUMNS = 1000
MAX_COUNTED_NAMES, MAX_NAME_CHARS = 20_000, 200  # beyond these they are no columns
MAX_HEADER_BYTES = 256 << 10
MAIN_SHARE = 0.95  # of a column's values: then they have one kind, and a row with another is left out
USUAL_FILE = "data/train.csv"  # of the repository


def is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def find_kind(value: Any) -> str:
    """Return what pandas would make of a cell: numbers and booleans do not mix, and texts with neither."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


@dataclass
class ColumnCounts:
    """The names that rows have, how often, and with which kinds of values."""

    target: str
    names: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, features: dict[str, Any], value: Any) -> None:
        for name, one in {**features, self.target: value}.items():
            is_new = name not in self.names
            if len(name) > MAX_NAME_CHARS or (is_new and len(self.names) >= MAX_COUNTED_NAMES):
                continue
            self.names[name] += 1
            if one is not None:
                self.kinds[name, find_kind(one)] += 1

    def choose_columns(self, usual: Sequence[str]) -> list[str]:
        """Return the columns: those of the usual file, else the most frequent by name; the target is one."""
        if usual:
            return list(usual)
        ranked = sorted((name for name in self.names if name != self.target), key=self._rank)
        return [*sorted(ranked[: MAX_COLUMNS - 1]), self.target]

    def _rank(self, name: str) -> tuple[int, str]:
        return -self.names[name], name

    def find_main_kinds(self, columns: Sequence[str]) -> dict[str, str]:
        """Return the kind of each column in which nearly all values have one."""
        found = {}
        for name in columns:
            counts = {kind: self.kinds[name, kind] for kind in ("boolean", "number", "text")}
            kind = max(counts, key=lambda one: counts[one])
            if counts[kind] and counts[kind] >= MAIN_SHARE * sum(counts.values()):
                found[name] = kind
        return found


def read_usual_columns(source: Path, target: str) -> list[str]:
    """Return the header of the repository's own training file; empty where none has the target."""
    file = source / USUAL_FILE
    found = read_start(file, MAX_HEADER_BYTES) if is_inside(file, source) else None
    start = (found or b"").decode("utf-8-sig", "replace")
    line, end, _ = start.partition("\n")
    with suppress(csv.Error, StopIteration):
        header = next(csv.reader([line.rstrip("\r")]))
        if end and target in header and len(set(header)) == len(header) <= MAX_COLUMNS:
            return header
    return []
