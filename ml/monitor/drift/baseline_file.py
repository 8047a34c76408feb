"""Baselines as files: bounded, versioned, with a digest, and checked in full when they are read.

    slipway-drift-baseline 1 SHA256-OF-THE-REST
    {"source", "has_columns", "rows", "features": [COLUMN, ...], "prediction": COLUMN or null}

COLUMN is {"name", "kind", "labels": [different ones], "codes": [an index of `labels` or null for each row],
"numbers": [a number or null for each row] or []}. Standard library only.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from common.system.durable import move_into_place
from common.system.plain_file import read_start
from ml.monitor.drift.baseline import (
    MAX_COLUMNS,
    MAX_NAME_CHARS,
    MAX_TRAINING_ROWS,
    BaselineError,
    Column,
    DriftBaseline,
    Source,
)
from ml.monitor.drift.values import MAX_LABEL_CHARS, MAX_NUMBER, Kind

MAGIC, VERSION = "slipway-drift-baseline", 1
MAX_FILE_BYTES = 32 << 20
MAX_HEADER_BYTES = 128
MAKE_AGAIN = "make it again from the release"

Json = dict[str, Any]
Word = TypeVar("Word", Kind, Source)


def write_baseline(baseline: DriftBaseline, path: Path) -> str:
    """Store a baseline, whole or not at all; return its digest. Raises BaselineError if it is too large."""
    content = {
        "source": baseline.source,
        "has_columns": baseline.has_columns,
        "rows": baseline.rows,
        "features": [column_to_json(column) for column in baseline.features],
        "prediction": column_to_json(baseline.prediction) if baseline.prediction else None,
    }
    payload = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    digest = hashlib.sha256(payload).hexdigest()
    if len(payload) > MAX_FILE_BYTES - MAX_HEADER_BYTES:
        raise BaselineError(f"the baseline takes more than {MAX_FILE_BYTES >> 20} MiB: drift is not measured")
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        file.write(f"{MAGIC} {VERSION} {digest}\n".encode() + payload)
    try:
        move_into_place(Path(file.name), path)
    except OSError:
        os.unlink(file.name)  # noqa: PTH108
        raise
    return digest


def column_to_json(column: Column) -> Json:
    codes: dict[str, int] = {}
    for label in column.labels:
        if label is not None:
            codes.setdefault(label, len(codes))
    return {
        "name": column.name,
        "kind": column.kind,
        "labels": list(codes),
        "codes": [None if label is None else codes[label] for label in column.labels],
        "numbers": list(column.numbers),
    }


def read_baseline(path: Path) -> tuple[DriftBaseline, str]:
    """Return a baseline and its digest; raises BaselineError where the file is missing or damaged."""
    found = read_start(path, MAX_FILE_BYTES + 1)
    if found is None:
        raise BaselineError(f"there is no baseline file {path.name}: {MAKE_AGAIN}")
    if len(found) > MAX_FILE_BYTES:
        fail(f"it has more than {MAX_FILE_BYTES >> 20} MiB")
    header, _, payload = found.partition(b"\n")
    digest = hashlib.sha256(payload).hexdigest()
    match header[:MAX_HEADER_BYTES].decode("ascii", "replace").split(" "):
        case [name, version, expected] if name == MAGIC:
            if version != str(VERSION):
                fail("it is of another version of Slipway")
            if expected != digest:
                fail("it is damaged")
        case _:
            fail("it is no baseline")
    return parse_payload(payload), digest


def parse_payload(payload: bytes) -> DriftBaseline:
    try:
        content = json.loads(payload, parse_constant=lambda _: fail("it has a number that is not finite"))
    except (ValueError, RecursionError):  # no JSON, no UTF-8, an integer too long to read, or nested too deep
        fail("it is no JSON")
    if not isinstance(content, dict) or not isinstance(content.get("features"), list):
        fail("it has no columns")
    rows, features, prediction = content.get("rows"), content["features"], content.get("prediction")
    if type(rows) is not int or not 1 <= rows <= MAX_TRAINING_ROWS:
        fail(f"it has to have 1 to {MAX_TRAINING_ROWS:,} rows")
    if len(features) > MAX_COLUMNS or not features:
        fail(f"it has to have 1 to {MAX_COLUMNS:,} columns")
    columns = tuple(parse_column(one, rows) for one in features)
    if len({column.name for column in columns}) < len(columns):
        fail("two columns have one name")
    return DriftBaseline(
        parse_word(Source, content.get("source")),
        rows,
        content.get("has_columns") is True,
        columns,
        None if prediction is None else parse_column(prediction, rows),
    )


def parse_column(content: Any, rows: int) -> Column:
    if not isinstance(content, dict):
        fail("a column is no object")
    name, labels, codes = content.get("name"), content.get("labels"), content.get("codes")
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARS:
        fail("a column has no name, or one that is too long")
    if not isinstance(labels, list) or not all(map(is_label, labels)) or len(labels) > rows:
        fail("a column has labels that are none")
    if (
        not isinstance(codes, list)
        or len(codes) != rows
        or not all(is_code(code, len(labels)) for code in codes)
    ):
        fail("a column has not one label for each row")
    numbers = content.get("numbers")
    if not isinstance(numbers, list) or len(numbers) not in (0, rows) or not all(map(is_finite, numbers)):
        fail("a column has not one number for each row")
    return Column(
        name,
        parse_word(Kind, content.get("kind")),
        tuple(None if code is None else labels[code] for code in codes),
        tuple(None if number is None else float(number) for number in numbers),
    )


def is_label(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_LABEL_CHARS


def is_code(value: Any, labels: int) -> bool:
    return value is None or (type(value) is int and 0 <= value < labels)


def is_finite(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and -MAX_NUMBER <= value <= MAX_NUMBER)


def parse_word(kind: type[Word], value: Any) -> Word:
    try:
        return kind(value)
    except ValueError:
        fail("it has an unknown kind of column or source")


def fail(cause: str) -> NoReturn:
    raise BaselineError(f"the baseline file cannot be used, {cause}: {MAKE_AGAIN}")
