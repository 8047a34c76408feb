"""What machines ask of this process: can it do its work, would it answer, what has it done?"""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from common.problems import Problem
from ml.serving.live import Places
from ml.serving.metrics import Metrics


def routes(places: Places, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health", summary="Can this process do its work?")
    async def health() -> dict[str, Any]:
        """200 while predictions are answered, or will be with the first release; says how Postgres is."""
        away = places.database()
        live = {
            name: place.live.release.id if place.live else None for name, place in places.by_model.items()
        }
        if away and not any(live.values()):
            detail = f"Postgres is away and nothing is live: {away}. It is asked again every second."
            raise Problem(503, "Postgres is away", detail)
        database = f"away: {away}" if away else f"not listened to: {places.deaf}" if places.deaf else "ok"
        return {"status": "ok", "database": database, "live": live}

    @router.get("/ready", summary="Would a prediction be answered?")
    async def ready() -> dict[str, str]:
        """200 once each model has a live release."""
        missing = [name for name, place in places.by_model.items() if place.live is None]
        if missing or not places.by_model:
            detail = f"Nothing is live yet of: {', '.join(missing) or 'no model'}. GET / says why."
            raise Problem(503, "Not ready", detail, headers={"Retry-After": "5"})
        return {"status": "ready"}

    @router.get("/metrics", summary="What Prometheus reads", response_class=Response)
    def numbers() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
