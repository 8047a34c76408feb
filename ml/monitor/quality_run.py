"""The start of the quality process on drawn rows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from db.quality_rows import LabelledAnswer
from ml.monitor.program import run_program

PROGRAM = Path(__file__).parent / "quality" / "__main__.py"

ReleaseAnswer = dict[str, Any]  # as `ml.monitor.quality.process` makes it


def run_quality(
    python: Path, kinds: Mapping[int, str], rows: Sequence[LabelledAnswer], seed: int
) -> dict[int, ReleaseAnswer]:
    """Return what was measured of each release; raises `MeasurementError` with the process's reason."""
    answer = run_program([str(python), "-I", str(PROGRAM)], to_lines(kinds, rows, seed))
    return {int(number): measured for number, measured in answer["releases"].items()}


def to_lines(kinds: Mapping[int, str], rows: Sequence[LabelledAnswer], seed: int) -> Iterator[str]:
    """Yield the request; answers and values are JSON already."""
    yield json.dumps({"version": 1, "seed": seed, "releases": kinds})
    for row in rows:
        at = json.dumps(row.observed_at.isoformat() if row.observed_at else None)
        head = f'{{"release": {row.release}, "call": "{row.call}", "at": {at}'
        yield f'{head}, "answer": {row.answer}, "truth": {row.value}}}'
