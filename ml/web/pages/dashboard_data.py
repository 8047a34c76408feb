"""Summaries of models: the build, the last rejection, the trends of metrics; six queries for all models."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from common.figures import format_short
from db import deployment_history, releases
from db.models import Release, Stage
from db.session import read_time
from db.states import Status
from ml.web.metric_order import order_metrics

MAX_TREND_RELEASES = 30  # releases that a metric's trend is drawn over
WIDTH, HEIGHT, EDGE = 220.0, 48.0, 5.0
MIN_RELATIVE_HEIGHT = 0.05  # of the values' magnitude: the smallest range of a curve's height


@dataclass(frozen=True)
class TrendPoint:
    release: int
    value: float
    state: str  # live, served once, waits for an operator, or not served
    x: float
    y: float


@dataclass(frozen=True)
class MetricTrend:
    """A metric over the releases, oldest first."""

    metric: str
    points: list[TrendPoint]

    @property
    def line(self) -> str:
        """The curve through the releases that were served."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.points if dot.state in ("live", "served"))

    @property
    def description(self) -> str:
        served = [dot for dot in self.points if dot.state in ("live", "served")] or self.points
        first, last = served[0], served[-1]
        return (
            f"{self.metric} from {format_short(first.value)} (release {first.release}) "
            f"to {format_short(last.value)} (release {last.release}), "
            f"lowest {format_short(min(d.value for d in served))}, "
            f"highest {format_short(max(d.value for d in served))}"
        )


@dataclass(frozen=True)
class ModelSummary:
    newest: list[Release]
    building: Release | None
    stage: Stage | None
    rejected: Release | None
    trends: list[MetricTrend]
    earlier: Release | None  # the previously live release, which changes are compared with
    now: datetime  # by Postgres's clock


def summarize_models(session: Session, live: dict[str, Release | None]) -> dict[str, ModelSummary]:
    """Return the summary of each model; `live` is the release that each serves."""
    models = list(live)
    newest = releases.list_newest_by_model(session, models, MAX_TREND_RELEASES)
    rejected = releases.find_last_unsuccessful(session, models)
    building = [r for found in newest.values() for r in found if r.status is Status.BUILDING]
    stages = releases.find_newest_stages(session, [release.id for release in building])
    earlier = deployment_history.find_previously_live(
        session, [release.id for release in live.values() if release]
    )
    failed = deployment_history.find_failed_starts(
        session, [release for found in newest.values() for release in found]
    )
    now = read_time(session)
    being_built = {release.model: release for release in reversed(building)}
    return {
        model: ModelSummary(
            found,
            work := being_built.get(model),
            stages.get(work.id) if work else None,
            rejected.get(model),
            build_trends(found, live[model], failed),
            earlier.get(model),
            now,
        )
        for model, found in newest.items()
    }


def build_trends(
    found: Sequence[Release], live: Release | None, failed: Collection[int]
) -> list[MetricTrend]:
    """Return the trend of each metric that more than one release has, in the order of the live one's.

    `failed` are the releases that failed to start.
    """
    scored = [release for release in reversed(found) if release.metrics]
    first = order_metrics(live) if live else None
    names = dict.fromkeys(
        [*(first or ()), *(n for release in reversed(scored) for n in release.metrics or {})]
    )
    number = live.id if live else None
    drawn = (
        build_trend(name, [r for r in scored if name in (r.metrics or {})], number, failed) for name in names
    )
    return [one for one in drawn if len(one.points) > 1]


def build_trend(
    metric: str, scored: Sequence[Release], live: int | None, failed: Collection[int]
) -> MetricTrend:
    """Return a metric's trend; the height covers at least a part of the values' magnitude, so that
    small changes are drawn small."""
    values = [(release.metrics or {})[metric] for release in scored]
    low, high = min(values, default=0.0), max(values, default=0.0)
    tall = max(high - low, MIN_RELATIVE_HEIGHT * max(abs(low), abs(high))) or 1.0
    across = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    up, middle = (HEIGHT - 2 * EDGE) / tall, (low + high) / 2
    return MetricTrend(
        metric,
        [
            TrendPoint(
                release.id,
                value,
                "not" if release.id in failed else find_point_state(release, live),
                EDGE + across * position,
                HEIGHT / 2 - up * (value - middle),
            )
            for position, (release, value) in enumerate(zip(scored, values, strict=True))
        ],
    )


def find_point_state(release: Release, live: int | None) -> str:
    if release.id == live:
        return "live"
    return {Status.DEPLOYED: "served", Status.PASSED: "waits"}.get(release.status, "not")
