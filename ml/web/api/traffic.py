"""A model's requests, failures and latencies over the last hour, day or month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session, sessionmaker

from db import deployment_history, traffic
from db.traffic import RequestCounts
from ml.serving.counters import estimate_quantile
from ml.serving.registry import ModelRegistry
from ml.serving.telemetry.traffic import NO_COUNTS, TrafficRecorder
from ml.web.serializers import Document, format_time


@dataclass(frozen=True)
class TrafficWindow:
    hours: int
    seconds: int  # of a point

    @property
    def points(self) -> int:
        return self.hours * 3600 // self.seconds


BUCKET_COUNT = len(NO_COUNTS.latencies)
WINDOWS = {"1": TrafficWindow(1, 60), "24": TrafficWindow(24, 900), "720": TrafficWindow(720, 14_400)}


def create_router(
    registry: ModelRegistry, sessions: sessionmaker[Session], recorder: TrafficRecorder
) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get(
        "/models/{name}/traffic", summary="Requests, errors and latency of the last hour, day or month"
    )
    def of_model(name: str, hours: Annotated[Literal["1", "24", "720"], Query()] = "1") -> dict[str, Any]:
        """Return a point for each minute, each 15 of the last 24 hours or each 4 hours of the last 30 days,
        that had requests.

        p50 and p99 lie between the bounds of a histogram. A request failed when its status is 500 or more.
        """
        model = registry.find(name).model.name
        with sessions.begin() as session:
            return read_window(session, model, WINDOWS[hours], recorder)

    return router


def read_window(session: Session, model: str, window: TrafficWindow, recorder: TrafficRecorder) -> Document:
    """Return a model's recorded requests, those not recorded yet, and the releases that went live."""
    now, points = traffic.read(
        session, model, seconds=window.seconds, points=window.points, bounds=BUCKET_COUNT
    )
    end = datetime.fromtimestamp(now.timestamp() // window.seconds * window.seconds, now.tzinfo)
    if rest := recorder.count_unrecorded().get(model):
        points[end] = points.get(end, NO_COUNTS) + rest
    start = end - timedelta(seconds=window.seconds * (window.points - 1))
    return {
        "model": model,
        "hours": window.hours,
        "seconds": window.seconds,
        "from": format_time(start),
        "to": format_time(end + timedelta(seconds=window.seconds)),
        **summarize_counts(sum(points.values(), NO_COUNTS)),
        "points": [{"at": format_time(at), **summarize_counts(counts)} for at, counts in points.items()],
        "deployments": [
            {"release": made.release_id, "live_at": format_time(made.live_at)}
            for made in deployment_history.list_deployments(session, model)
            if made.live_at is not None and start <= made.live_at
        ],
    }


def read_last_hour(session: Session, models: Sequence[str], recorder: TrafficRecorder) -> dict[str, Document]:
    """Return the counts of each of these models, summed over an hour."""
    recorded, rest = traffic.read_hour(session, models, bounds=BUCKET_COUNT), recorder.count_unrecorded()
    return {
        model: summarize_counts(recorded.get(model, NO_COUNTS) + rest.get(model, NO_COUNTS))
        for model in models
    }


def summarize_counts(counts: RequestCounts) -> Document:
    """Return the requests, the failed ones, and the p50 and p99 latency in milliseconds."""
    p50, p99 = (find_quantile_ms(counts, share) if counts.requests else None for share in (0.5, 0.99))
    return {"requests": counts.requests, "failed": counts.failed, "p50_ms": p50, "p99_ms": p99}


def find_quantile_ms(counts: RequestCounts, share: float) -> float:
    """Return a quantile in milliseconds, with no more digits than the histogram's precision."""
    return float(f"{1000 * estimate_quantile(counts.latencies, share):.2g}")
