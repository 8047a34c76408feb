"""What the monitor measured of a model: requests, quality, drift, predictions, and what was trained again."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session, sessionmaker

from common.web.negotiation import wants_page
from db import monitor_history, retrainings
from db.monitor_history import QUALITY_WINDOWS, ShownPeriod
from db.session import read_time
from ml.serving.registry import ModelRegistry, ServedModel
from ml.serving.telemetry.traffic import TrafficRecorder
from ml.settings import MlSettings
from ml.web.api import traffic
from ml.web.metric_order import order_metrics
from ml.web.monitor_document import (
    serialize_drift_point,
    serialize_drift_window,
    serialize_quality,
    serialize_state,
)
from ml.web.pages import prediction_shift
from ml.web.pages.monitor_charts import build_charts, choose_drift_window
from ml.web.pages.render import negotiate_response, parse_time
from ml.web.serializers import Document, serialize_retraining

DEFAULT_HOURS, DEFAULT_WINDOW = "24", "week"


@dataclass(frozen=True)
class View:
    """The part of the page that is asked for: the hours back, and the window of quality."""

    hours: str
    window: str

    @classmethod
    def from_request(cls, request: Request) -> "View":
        """Return what the URL names; the default of what it does not, or what there is not."""
        hours, window = (request.query_params.get(name, "") for name in ("hours", "window"))
        return cls(
            hours if hours in traffic.WINDOWS else DEFAULT_HOURS,
            window if window in QUALITY_WINDOWS else DEFAULT_WINDOW,
        )


def create_router(
    settings: MlSettings,
    registry: ModelRegistry,
    sessions: sessionmaker[Session],
    recorder: TrafficRecorder,
) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models/{name}/monitor", summary="What the monitor measured: quality, drift, predictions")
    def of_model(request: Request, name: str) -> Response:
        """Return requests, quality, drift and predictions of the last 24 hours, and the last retrainings.

        `?hours=1` and `?hours=720` change the time, `?window=day` and `month` of what quality is measured.
        """
        served = registry.find(name)
        view = View.from_request(request)
        with sessions.begin() as session:
            document = read_monitor(session, served, view, recorder)
            suggested = retrainings.list_suggested(session, [served.model.name])
            now = read_time(session)
        document["monitor"] = {
            "is_on": settings.monitor,
            "seconds": settings.monitor_seconds,
            "is_recording": settings.record,
            **document["monitor"],
        }
        gate_metrics = order_metrics(served.live.release) if served.live else None
        more: dict[str, Any] = {
            "repository": served.model.repository,
            "now": now,
            "view": view,
            "suggested": [serialize_retraining(one, None) for one in suggested],
            "charts": build_charts(document, gate_metrics or {}) if wants_page(request) else None,
        }
        return negotiate_response(request, "monitor.html", document, **more)

    return router


def read_monitor(session: Session, served: ServedModel, view: View, recorder: TrafficRecorder) -> Document:
    """Return all that is measured of a model."""
    model = served.model.name
    requests = traffic.read_window(session, model, traffic.WINDOWS[view.hours], recorder)
    now = parse_time(requests["to"])
    period = ShownPeriod(parse_time(requests["from"]), now)
    newest = monitor_history.list_newest_drift(session, model)
    chosen = choose_drift_window(newest)
    return {
        "model": model,
        "release": served.live.release.id if served.live else None,
        "monitor": serialize_state(monitor_history.find_state(session, model)),
        "traffic": requests,
        "quality": {
            "newest": list(map(serialize_quality, monitor_history.list_newest_quality(session, model))),
            "window": view.window,
            "points": [
                serialize_quality(one)
                for one in monitor_history.list_quality(session, model, view.window, period)
            ],
        },
        "drift": {
            "newest": [serialize_drift_window(one) for one in newest],
            "window": chosen,
            "points": [
                serialize_drift_point(one)
                for one in monitor_history.list_drift(session, model, chosen, period)
            ],
        },
        "predictions": prediction_shift.compare_releases(session, model, now),
        "retrainings": [
            serialize_retraining(one, release)
            for one, release in retrainings.list_retrainings(session, model)
        ],
    }
