"""The start of the quality process on drawn rows, and the check of its answer."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UnavailableError
from common.text import first_line, make_storable
from db.quality_rows import LabelledAnswer

PROGRAM = Path(__file__).parent / "quality" / "__main__.py"
MAX_SECONDS = 900.0  # its processor time is bounded by itself; it may wait for one
MAX_ANSWER_BYTES = 4 << 20
MAX_REASON_CHARS = 500

ReleaseAnswer = dict[str, Any]  # as `ml.monitor.quality.process` makes it


def run_quality(
    python: Path, kinds: Mapping[int, str], rows: Sequence[LabelledAnswer], seed: int
) -> dict[int, ReleaseAnswer]:
    """Return what was measured of each release; raises UnavailableError with the process's reason."""
    request = b"\n".join(to_lines(kinds, rows, seed))
    try:
        ended = subprocess.run(
            [python, "-I", PROGRAM], input=request, capture_output=True, timeout=MAX_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"quality was not measured within {MAX_SECONDS:.0f} s") from None
    if ended.returncode or len(ended.stdout) > MAX_ANSWER_BYTES:
        reason = first_line(ended.stderr.decode(errors="replace")[-10_000:], f"exit code {ended.returncode}")
        raise UnavailableError(make_storable(reason, MAX_REASON_CHARS))
    releases = json.loads(ended.stdout)["releases"]
    return {int(number): measured for number, measured in releases.items()}


def to_lines(kinds: Mapping[int, str], rows: Sequence[LabelledAnswer], seed: int) -> Iterator[bytes]:
    """Yield the request; answers and values are JSON already."""
    yield json.dumps({"version": 1, "seed": seed, "releases": kinds}).encode()
    for row in rows:
        at = json.dumps(row.observed_at.isoformat() if row.observed_at else None)
        head = f'{{"release": {row.release}, "call": "{row.call}", "at": {at}'
        yield f'{head}, "answer": {row.answer}, "truth": {row.value}}}'.encode()
