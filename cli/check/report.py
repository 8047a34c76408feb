"""What a check shows of a model: metrics, features, an example call; or the line that failed."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.check.first_prediction import FirstPrediction
from common.figures import format_metric
from common.system.plain_file import read_start

MAX_LOG_BYTES = 17 << 20  # more than the sandbox lets a process write
MAX_TAIL_BYTES = 64 << 10  # bytes at the end of a log, where its last traceback is
MAX_LOG_LINES = 15
MAX_FIELDS = 50
MAX_CHOICES = 10
MAX_SHOWN_CHARS = 500
FRAME = re.compile(r'File "([^"\n]+)", line (\d+)')
# of pytest, which names files of the repository by their path in it
TEST_FRAME = re.compile(r"^(?!/|\.\./)([^:\n]+\.py):(\d+): ", re.MULTILINE)
BOUNDS = {"minimum": "from", "maximum": "to", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}


def describe_model(metrics: Mapping[str, float], first: FirstPrediction) -> Iterator[str]:
    """Yield the lines on a model that passed."""
    yield "metrics"
    for name, value in metrics.items():
        yield f"  {name}  {format_metric(value)}"
    yield "features"
    yield from describe_features(first.schema)
    yield "example"
    if first.features is None or first.prediction is None:
        yield "  none is known: give predict()'s features a type, or add examples() to main.py"
        return
    body = shorten(first.features)
    yield f"  curl -d {shlex.quote(body)} localhost:8000/predict"
    yield f"  {shorten(first.prediction)}"


def describe_features(schema: Mapping[str, Any] | None) -> Iterator[str]:
    if schema is None:
        yield "  any JSON: give predict()'s features a type, and they are checked"
        return
    fields = schema.get("properties")
    if not isinstance(fields, dict) or not fields:
        yield f"  {describe_type(schema)}"
        return
    required = schema.get("required") or ()
    for name, field in list(fields.items())[:MAX_FIELDS]:
        yield f"  {name}  {describe_type(field)}{'' if name in required else ', optional'}"
    if len(fields) > MAX_FIELDS:
        yield f"  and {len(fields) - MAX_FIELDS} more"


def describe_type(field: Any) -> str:
    """Return a JSON Schema in a few words, as `integer, from 1, to 9`, or itself where words do not do."""
    if not isinstance(field, dict):
        return shorten(field)
    if isinstance(choices := field.get("enum"), list):
        words = [shorten(choice) for choice in choices[:MAX_CHOICES]]
        return "one of " + ", ".join(words) + (", …" if len(choices) > MAX_CHOICES else "")
    if not isinstance(kind := field.get("type"), str):
        return shorten({name: value for name, value in field.items() if name != "examples"})
    bounds = [f"{word} {shorten(field[name])}" for name, word in BOUNDS.items() if name in field]
    return ", ".join([kind, *bounds])


def shorten(value: Any) -> str:
    """Return JSON, or a value as JSON, cut where it is long."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"


def read_log(log: Path) -> str:
    """Return the end of a stage's log; nothing where there is none."""
    return (read_start(log, MAX_LOG_BYTES) or b"")[-MAX_TAIL_BYTES:].decode(errors="replace")


def describe_log(log: Path) -> Iterator[str]:
    """Yield the last lines of a log, under its path."""
    if lines := read_log(log).splitlines()[-MAX_LOG_LINES:]:
        yield f"the end of {log}:"
        yield from (f"  {shorten(line.encode())}" for line in lines)


def find_line(log: Path, reason: str, roots: Sequence[Path]) -> str | None:
    """Return the innermost line of the repository in the traceback of `reason`, as `main.py:12`.

    `roots` are the folders that the repository's code runs in. None where the log's last traceback is of
    something else.
    """
    text = read_log(log)
    for frame in reversed(list(FRAME.finditer(text))):
        for root in roots:
            if Path(frame[1]).is_relative_to(root):
                lines = text[frame.end() :].splitlines()
                is_reason = any(line and not line.isspace() and line.strip() in reason for line in lines)
                return f"{Path(frame[1]).relative_to(root)}:{frame[2]}" if is_reason else None
    return None


def find_test_line(log: Path) -> str | None:
    """Return the innermost line of the repository's last test that failed, as `main.py:12`."""
    frames = TEST_FRAME.findall(read_log(log))
    return ":".join(frames[-1]) if frames else None
