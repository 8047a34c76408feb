"""The repository's own evaluate on recorded requests with ground truth, in a process of the builder's."""

import sys
from typing import Any

from common.text import make_storable
from db.quality_rows import QualityPeriod
from ml.metric_names import OWN_PREFIX
from ml.monitor.program import MeasurementError, run_program

MODULE = "ml.builder.score_recorded"
MAX_METRICS = 20  # that are stored
NO_INTERVAL = "the repository's own code gives no interval"


def score_own(release: int, window: QualityPeriod, seed: int) -> tuple[dict[str, dict[str, Any]], str]:
    """Return the release's own metrics on a draw of a window's rows, or none and a sentence why."""
    period = (window.begin.isoformat(), window.end.isoformat())
    command = [sys.executable, "-m", MODULE, window.model, str(release), *period, str(seed)]
    try:
        found = run_program(command, ())
    except MeasurementError as fault:
        return {}, make_storable(str(fault))
    return {
        OWN_PREFIX + make_storable(name): {
            **{"value": value, "low": None, "high": None},
            **{"rows": found["rows"], "reason": NO_INTERVAL},
        }
        for name, value in list(found["metrics"].items())[:MAX_METRICS]
    }, ""
