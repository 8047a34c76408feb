"""Health, readiness and metrics of this process."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from common.problems import ProblemError
from ml.serving.registry import ModelRegistry
from ml.web.api.prometheus import ServingMetrics


def create_router(registry: ModelRegistry, metrics: ServingMetrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health", summary="Can this process do its work?")
    async def health() -> dict[str, Any]:
        """Return 200 while predictions are or will be answered, with the state of Postgres."""
        error = registry.find_database_error()
        live = {
            name: served.live.release.id if served.live else None
            for name, served in registry.by_model.items()
        }
        if error and not any(live.values()):
            detail = f"Postgres is unavailable and nothing is live: {error}. Slipway retries every second."
            raise ProblemError(503, "Postgres is unavailable", detail)
        database = (
            f"away: {error}"
            if error
            else f"not listened to: {registry.listen_error}"
            if registry.listen_error
            else "ok"
        )
        return {"status": "ok", "database": database, "live": live}

    @router.get("/ready", summary="Would a prediction be answered?")
    async def ready() -> dict[str, Any]:
        """Return 200 once each model with a past live release answers; `waiting` lists those without one."""
        missing = registry.find_unready()
        if missing or not registry.by_model:
            detail = f"Nothing is live yet of: {', '.join(missing) or 'no model'}. GET / shows why."
            raise ProblemError(503, "Not ready", detail, headers={"Retry-After": "5"})
        waiting = [name for name, served in registry.by_model.items() if served.live is None]
        return {"status": "ready", **({"waiting": waiting} if waiting else {})}

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def numbers() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
