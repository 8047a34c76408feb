"""What the drift process is asked: one header and one line for each recorded row; standard library only."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, TypeGuard

from ml.monitor.drift.windows import Row, WindowName

VERSION = 1
MAX_REQUEST_BYTES = 64 << 20
MAX_LINE_BYTES = 4 << 20
MAX_ROWS = 50_000
MAX_CALL_CHARS = 200
MAX_DIGITS = 1000  # of an integer

Json = dict[str, Any]


class RequestError(Exception):
    """A request that cannot be answered; the text gives the line and the cause."""


@dataclass(frozen=True)
class DriftRequest:
    baseline: Path
    cache: Path | None  # of thresholds; none: they are made again each time
    seed: int
    now: float | None  # the end of the newest day; none: the newest row
    suspicion: dict[WindowName, dict[str, float]]  # as the answer to the last request had it
    rows: list[Row]


def read_request(file: IO[bytes]) -> DriftRequest:
    """Read a whole request; raises RequestError where it is malformed or too large."""
    lines = read_lines(file)
    _, header = next(lines, (1, None))
    if not isinstance(header, dict) or header.get("version") != VERSION:
        fail(1, f"it has to be an object with version {VERSION}")
    baseline, cache = header.get("baseline"), header.get("cache")
    if not is_path(baseline) or not (cache is None or is_path(cache)):
        fail(1, "baseline has to be the path of a file, and cache one or null")
    seed, now = header.get("seed", 0), header.get("now")
    if type(seed) is not int or not (now is None or is_time(now)):
        fail(1, "seed has to be an integer, and now a time in seconds")
    suspicion = read_suspicion(header.get("suspicion", {}))
    rows = [read_row(number, line) for number, line in lines]
    return DriftRequest(Path(baseline), Path(cache) if cache else None, seed, now, suspicion, rows)


def read_lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Yield the JSON value in each line, with the line's number."""
    number, size = 0, 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number, size = number + 1, size + len(line)
        if len(line) > MAX_LINE_BYTES:
            fail(number, f"it has more than {MAX_LINE_BYTES >> 20} MiB")
        if size > MAX_REQUEST_BYTES or number > MAX_ROWS + 1:
            fail(number, f"more than {MAX_REQUEST_BYTES >> 20} MiB or {MAX_ROWS:,} rows: send fewer rows")
        try:
            value = json.loads(line, parse_int=parse_integer)
        except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested too deep
            fail(number, "it is no JSON")
        yield number, value


def read_row(number: int, line: Any) -> Row:
    if not isinstance(line, dict) or "features" not in line:
        fail(number, "a row is an object with call, at, features and prediction")
    call, at = line.get("call"), line.get("at")
    if not isinstance(call, str) or not call or len(call) > MAX_CALL_CHARS:
        fail(number, f"call has to be a text of at most {MAX_CALL_CHARS} characters")
    if not is_time(at):
        fail(number, "at has to be a time in seconds")
    window = line.get("window")
    if window is not None and window not in list(WindowName):
        fail(number, f"window has to be one of {', '.join(WindowName)}")
    name = None if window is None else WindowName(window)
    return Row(call, float(at), line["features"], line.get("prediction"), name, "prediction" in line)


def parse_integer(text: str) -> float:
    """Return an integer; one of so many digits that Python does not read it counts as infinite."""
    return int(text) if len(text) <= MAX_DIGITS else float(text)


def read_suspicion(content: Any) -> dict[WindowName, dict[str, float]]:
    windows = content if isinstance(content, dict) else {}
    names = set(map(str, WindowName))
    whole = windows is content and windows.keys() <= names
    if not whole or not all(
        isinstance(one, dict) and all(map(is_time, one.values())) for one in windows.values()
    ):
        fail(1, "suspicion has to be that of the last answer")
    return {WindowName(name): dict(columns) for name, columns in windows.items()}


def is_path(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) < 4096 and "\0" not in value


def is_time(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and abs(value) < 1e12 and math.isfinite(value)


def fail(line: int, cause: str) -> NoReturn:
    raise RequestError(f"line {line} of the request: {cause}")
