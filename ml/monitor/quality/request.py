"""What the quality process is asked: one header and one line for each row; standard library only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any

from ml.monitor.drift.request import MAX_CALL_CHARS, fail, read_lines

VERSION = 1
MAX_RELEASES = 20
MAX_AT_CHARS = 64


class MetricKind(StrEnum):
    """The kinds of models, each with its own metrics; a generic one has none."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"
    TIME_SERIES = "time-series"
    GENERIC = "generic"


@dataclass(frozen=True)
class AnsweredRow:
    """An answer of a model with its ground truth: anything that JSON can hold."""

    call: str
    answer: Any
    truth: Any
    at: str | None = None  # the time that the truth belongs to


@dataclass(frozen=True)
class QualityRequest:
    seed: int
    kinds: dict[int, MetricKind]  # of each release
    rows: dict[int, list[AnsweredRow]]


def read_request(file: IO[bytes]) -> QualityRequest:
    """Read a whole request; raises RequestError where it is malformed or too large."""
    lines = read_lines(file)
    _, header = next(lines, (1, None))
    if not isinstance(header, dict) or header.get("version") != VERSION:
        fail(1, f"it has to be an object with version {VERSION}")
    seed = header.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        fail(1, "seed has to be an integer, 0 or more")
    kinds = read_kinds(header.get("releases"))
    rows: dict[int, list[AnsweredRow]] = {release: [] for release in kinds}
    for number, line in lines:
        release, row = read_row(number, line)
        if release not in rows:
            fail(number, "its release is not among those in line 1")
        rows[release].append(row)
    return QualityRequest(seed, kinds, rows)


def read_kinds(content: Any) -> dict[int, MetricKind]:
    releases = content if isinstance(content, dict) else {}
    is_whole = all(
        name.isascii() and name.isdecimal() and len(name) < 20 and kind in list(MetricKind)
        for name, kind in releases.items()
    )
    if not 0 < len(releases) <= MAX_RELEASES or not is_whole:
        fail(1, f"releases has to have one to {MAX_RELEASES} numbers, each with its kind of model")
    return {int(name): MetricKind(kind) for name, kind in releases.items()}


def read_row(number: int, line: Any) -> tuple[int, AnsweredRow]:
    if not isinstance(line, dict) or not line.keys() >= {"release", "call", "answer", "truth"}:
        fail(number, "a row is an object with release, call, answer, truth and at")
    release, call, at = line["release"], line["call"], line.get("at")
    if type(release) is not int:
        fail(number, "release has to be a number")
    if not isinstance(call, str) or not call or len(call) > MAX_CALL_CHARS:
        fail(number, f"call has to be a text of at most {MAX_CALL_CHARS} characters")
    if at is not None and not (isinstance(at, str) and len(at) <= MAX_AT_CHARS):
        fail(number, f"at has to be a time as text of at most {MAX_AT_CHARS} characters, or null")
    return release, AnsweredRow(call, line["answer"], line["truth"], at)
