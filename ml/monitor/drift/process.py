"""One run of the drift process: it reads a request, judges its windows, and returns the findings as JSON."""

from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from ml.monitor.drift.baseline_file import read_baseline
from ml.monitor.drift.request import VERSION, DriftRequest, read_request
from ml.monitor.drift.windows import Row, Window, WindowName, draw_day, draw_newest

Json = dict[str, Any]


def answer_request(file: IO[bytes]) -> Json:
    """Return the findings; raises RequestError and BaselineError."""
    request = read_request(file)
    baseline, digest = read_baseline(request.baseline)
    # a request that cannot be answered does not wait for scipy
    from ml.monitor.drift.calibration import CalibrationCache  # noqa: PLC0415
    from ml.monitor.drift.judge import DriftJudge, next_suspicion  # noqa: PLC0415

    cache = CalibrationCache(digest, request.cache)
    judge = DriftJudge(baseline, cache)
    findings, suspicion = [], {}
    for window in draw_windows(request):
        before = request.suspicion.get(window.name, {})
        finding = judge.judge(window, before)
        findings.append(asdict(finding))
        suspicion[window.name] = next_suspicion(finding, before)
    with suppress(OSError):  # a full disk: the thresholds are made again next time
        cache.save()
    return {
        "version": VERSION,
        "baseline": {"digest": digest, "source": baseline.source, "rows": baseline.rows},
        "windows": findings,
        "suspicion": suspicion,
    }


def draw_windows(request: DriftRequest) -> list[Window]:
    newest = max((row.at for row in request.rows), default=0.0)
    now = newest if request.now is None else request.now
    return [
        draw_newest(select_rows(request, WindowName.NEWEST), request.seed),
        draw_day(select_rows(request, WindowName.DAY), request.seed, now),
    ]


def select_rows(request: DriftRequest, name: WindowName) -> list[Row]:
    return [row for row in request.rows if row.window in (None, name)]
