"""The rows of a CSV, read as pandas reads them."""

import csv
import io
import re
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from common.problems import ProblemError
from ml.model_host.feature_kind import resolve_schema, takes_null
from ml.serving.predict import batch, features
from ml.serving.registry import LiveRelease

NUMBER_PATTERN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
MAX_DIGITS = 400
MISSING_NAMES = "#N/A #NA -1.#IND -1.#QNAN -NaN -nan 1.#IND 1.#QNAN <NA> N/A NA NULL NaN None n/a nan null"
MISSING_VALUES = frozenset(("", "#N/A N/A", *MISSING_NAMES.split()))  # those of pandas.read_csv
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def encode_table(names: list[str], data: list[list[Raw]], kind: str, place: str) -> list[bytes]:
    if len(set(names)) < len(names):
        raise ProblemError(422, "Two columns of one name", f"The columns are {', '.join(names)}.")
    for at, values in enumerate(data):
        if len(values) != len(names):
            detail = f"{place}[{at}] has {len(values)} values, and there are {len(names)} columns."
            raise ProblemError(422, "A row of another length", detail)
    return [features.encode_row(names, list(map(bytes, values)), kind) for values in data]


def parse_csv(
    body: bytes, live: LiveRelease, *, ignore_unknown: bool = False, has_names: bool = True
) -> list[bytes]:
    """Return the rows of a CSV; its first line names the columns, without `has_names` the model does.

    `ignore_unknown` leaves out columns that the model does not take: where it names none, the target.
    Raises `ProblemError` when it is not CSV or does not fit the model.
    """
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        detail = f"Byte {error.start} is not UTF-8: send the table in that encoding."
        raise ProblemError(400, "The body is not CSV", detail) from error
    except csv.Error as error:
        raise ProblemError(
            400, "The body is not CSV", f"Its Content-Type is CSV, but it cannot be parsed: {error}."
        ) from error
    lines = [line for line in lines if line]
    if not lines:
        raise ProblemError(400, "The body is not CSV", "The first line has to name the columns.")
    schema = live.schema or {}
    top = resolve_schema(schema, schema)
    properties = top.get("properties", {})
    kinds = {name: find_cell_kind(one, schema) for name, one in properties.items()}
    names, *rows_of_file = lines if has_names or not kinds else [list(kinds), *lines]
    if kinds and not ignore_unknown and top.get("additionalProperties") is False:
        check_columns(names, list(kinds))
    for at, line in enumerate(rows_of_file):
        if len(line) != len(names):
            detail = f"{format_csv_row(at)} has {len(line)} values, and there are {len(names)} columns."
            raise ProblemError(422, "A row of another length", detail)
    batch.check_row_count(rows_of_file)  # before each cell is parsed
    taken = [
        at
        for at, name in enumerate(names)
        if not ignore_unknown or (name in kinds if kinds else name != live.target_column)
    ]
    data = [
        [encode_cell(line[at], kinds.get(names[at], CellKind())) for at in taken] for line in rows_of_file
    ]
    return encode_table([names[at] for at in taken], data, features.get_feature_kind(live), "csv")


def check_columns(names: list[str], expected: list[str]) -> None:
    """Raise `ProblemError` with the fix where there are columns that the model does not take."""
    strange = [name for name in names if name not in expected]
    there_is = f"there is {', '.join(expected)}"
    if not strange:
        return
    listed = ", ".join(name[:50] for name in strange[:10])
    fix = f"The model does not take {listed}: {there_is}. ?columns=known leaves out what it does not take."
    if len(names) == 1 and (separator := next((one for one in SEPARATORS if one in names[0]), None)):
        fix = f"Its columns are separated by {SEPARATORS[separator]}: send commas."
    elif len(strange) == len(names):
        fix = (
            f"Its first line names none of the model's columns: {there_is}. "
            "Without such a line, send it as Content-Type: text/csv; header=absent."
        )
    elif "" in strange:
        fix = (
            "A column has no name, as pandas writes the index: write the table by "
            "to_csv(index=False), or send it to ?columns=known."
        )
    elif any(name.strip() in expected for name in strange):
        fix = f"The names of columns begin or end with a space: {listed!r}."
    raise ProblemError(422, "Other columns than the model's", fix)


def format_csv_row(index: int) -> str:
    """Return a row's name; rows are counted from 1 below the one that names the columns."""
    return f"row {index + 1}"


class CellKind(NamedTuple):
    """The declared content of a column."""

    is_text: bool = False
    may_be_missing: bool = True


def find_cell_kind(schema: dict[str, Any], root: dict[str, Any]) -> CellKind:
    is_text = resolve_schema(schema, root).get("type") == "string"
    return CellKind(is_text, may_be_missing=takes_null(schema, root) or not is_text)


def encode_cell(text: str, kind: CellKind) -> Raw:
    """Return a cell as pandas reads it: null where it is missing, a boolean, a number, else the text."""
    if kind.may_be_missing and text in MISSING_VALUES:
        return Raw(b"null")
    if not kind.is_text:
        if text in ("True", "TRUE", "true", "False", "FALSE", "false"):
            return Raw(text.lower().encode())
        if len(text) <= MAX_DIGITS and NUMBER_PATTERN.fullmatch(text):
            return Raw(to_json_number(text))
    return Raw(msgspec.json.encode(text))


def to_json_number(text: str) -> bytes:
    """Return a number as JSON: `.5`, `5.`, `+3` and `007` are numbers in a table, and not in JSON."""
    try:
        return str(int(text)).encode()
    except ValueError:
        return msgspec.json.encode(float(text))  # what is beyond a float becomes null
