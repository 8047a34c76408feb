"""The quality of a model's recorded predictions that have ground truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from common.errors import RejectedError
from db import monitor_results, quality_rows, quality_windows
from db.monitor_models import QualityWindow
from db.quality_rows import LabelledRows, QualityPeriod, ServedRelease
from db.retraining_plans import LiveModel
from db.session import read_time
from ml import manifest
from ml.manifest import Gate, Manifest
from ml.monitor.decay import GateRules, QualityStatus, judge_window
from ml.monitor.own_evaluate import score_own
from ml.monitor.quality.process import MIN_ROWS
from ml.monitor.quality_run import ReleaseAnswer, run_quality
from ml.monitor.venv import require_venv
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig

DAY = timedelta(days=1)
NOT_LIVE = "it is not live any more: nothing is judged"


@dataclass(frozen=True)
class WindowKind:
    """A length of time that is measured up to now, and how often."""

    name: str
    length: timedelta
    interval: timedelta


# the shortest that has enough rows decides; longer ones change slowly and have more rows to read
WINDOWS = (
    WindowKind("day", DAY, timedelta()),
    WindowKind("week", 7 * DAY, timedelta(hours=1)),
    WindowKind("month", 30 * DAY, timedelta(hours=6)),
)


@dataclass(frozen=True)
class Measures:
    """The means to measure the quality of a live release."""

    gate: Gate | None  # None: its rules are not known
    find_python: Callable[[], Path]  # of the monitor's environment
    # the metrics of the repository's own code in a window, with a seed, or a sentence why there are none
    score_own: Callable[[QualityPeriod, int], tuple[dict[str, Any], str]] | None = None


@dataclass(frozen=True)
class Served:
    """The releases that a model serves and has served, with earlier measurements of the live one."""

    now: datetime
    live: int
    releases: dict[int, ServedRelease]
    last: Mapping[str, QualityWindow]  # of the live one
    decay: str | None


def measure_quality(
    sessions: sessionmaker[Session],
    settings: MlSettings,
    model: ModelConfig,
    live: LiveModel,
) -> str | None:
    """Measure and store the quality of what a model serves; return why it decays, None where it does not.

    Raises `MeasurementError` where that cannot be found out.
    """
    declared = read_manifest(settings, live.release)
    gate = model.operator_gate.with_defaults(declared.gate) if declared else None
    has_target = declared is not None and declared.model.target is not None
    own = partial(score_own, live.release) if has_target else None
    return measure_windows(sessions, live, Measures(gate, find_python, own))


def find_python() -> Path:
    """Return the Python of the monitor's environment, which is made when it is first needed."""
    return require_venv().python


def measure_windows(sessions: sessionmaker[Session], live: LiveModel, measures: Measures) -> str | None:
    """Measure each window that is due; the shortest with enough rows decides.

    Where none has enough, what was found before lasts.
    """
    served = read_served(sessions, live)
    judged: dict[str, QualityWindow] = {}
    for kind in WINDOWS:
        last = served.last.get(kind.name)
        if last is not None and not quality_windows.is_due(last, served.now, kind.interval):
            judged[kind.name] = last
            continue
        window = QualityPeriod(live.model, kind.name, served.now - kind.length, served.now)
        for made in measure_window(sessions, window, served, measures):
            if made.release_id == live.release:
                judged[kind.name] = made
    return decide(judged, served.decay)


def decide(judged: Mapping[str, QualityWindow], before: str | None) -> str | None:
    """Return why the live release decays, by the shortest window that has enough rows."""
    for kind in WINDOWS:
        window = judged.get(kind.name)
        if window is not None and window.status != QualityStatus.TOO_FEW:
            return (
                f"in the last {kind.name}: {window.reason}" if window.status == QualityStatus.DECAY else None
            )
    return before


def read_served(sessions: sessionmaker[Session], live: LiveModel) -> Served:
    with sessions.begin() as session:
        releases = {one.id: one for one in quality_rows.list_served(session, live.model, live.release)}
        last = quality_windows.list_last(session, live.model, live.release)
        decay = quality_windows.find_decay(session, live.model, live.release)
        return Served(read_time(session), live.release, releases, last, decay)


def read_manifest(settings: MlSettings, release: int) -> Manifest | None:
    """Return the manifest of a release; None where its repository is not here, or is of another version."""
    source = HomeLayout(settings.home.absolute()).source_path(release)
    try:
        return manifest.read(source) if source.is_dir() else None
    except RejectedError:
        return None


def measure_window(
    sessions: sessionmaker[Session], window: QualityPeriod, served: Served, measures: Measures
) -> list[QualityWindow]:
    """Measure one window of all releases that have ground truth in it, and store what was found."""
    seed = int(window.end.timestamp())
    with sessions.begin() as session:
        found = quality_rows.draw_rows(session, window, list(served.releases), seed)
    if not found.labelled:
        return []
    kinds = {number: served.releases[number].kind for number in found.labelled}
    measured = run_quality(measures.find_python(), kinds, found.rows, seed)
    add_own(measured.get(served.live), window, measures, seed)
    made = [
        judge_release(
            window, found, served.releases[number], measures.gate, answer, is_live=number == served.live
        )
        for number, answer in measured.items()
    ]
    with sessions.begin() as session:
        session.add_all(made)
        session.flush()
        monitor_results.prune_windows(session, window.model)
    return made


def add_own(answer: ReleaseAnswer | None, window: QualityPeriod, measures: Measures, seed: int) -> None:
    """Add the metrics of the repository's own code to those of the live release, if it has enough rows."""
    if answer is None or answer["usable"] < MIN_ROWS or measures.score_own is None:
        return
    own, answer["note"] = measures.score_own(window, seed)
    answer["metrics"] |= own


def judge_release(
    window: QualityPeriod,
    found: LabelledRows,
    release: ServedRelease,
    gate: Gate | None,
    answer: ReleaseAnswer,
    *,
    is_live: bool,
) -> QualityWindow:
    """Return what a window shows of one release; only the live one is judged."""
    rules = GateRules(release.id, gate, release.metrics)
    labelled, answered = found.labelled[rules.release], found.answered.get(rules.release, 0)
    recorded = max(labelled, answered)  # both may be estimates
    if answer["metrics"] and not is_live:
        status, reason = QualityStatus.SAME, NOT_LIVE
    elif answer["metrics"]:
        status, reason = judge_window(rules, answer["metrics"], labelled, recorded)
    else:
        status, reason = QualityStatus.TOO_FEW, answer["reason"]
    unusable = answer["rows"] - answer["usable"]
    left_out = f"{unusable:,} of {answer['rows']:,} rows could not be compared with their ground truth"
    reason = "; ".join(filter(None, (reason, left_out if unusable else "", answer.get("note", ""))))
    return QualityWindow(
        model=window.model,
        release_id=rules.release,
        made_at=window.end,
        window=window.name,
        begins_at=window.begin,
        ends_at=window.end,
        recorded=recorded,
        rows=labelled,
        kind=release.kind,
        metrics=answer["metrics"],
        status=status,
        reason=reason,
    )
