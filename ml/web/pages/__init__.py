"""Routes for people, and for programs at the same paths: `Accept: text/html` gets the page."""

from collections.abc import Sequence
from functools import partial

from fastapi import FastAPI, Request
from sqlalchemy.orm import Session, sessionmaker

from common.web.templates import STATIC_FOLDER
from db import appliance, monitor_metrics, retraining_plans
from db.models import Release
from db.monitor_metrics import MonitorSummary
from db.retraining_models import RetrainingPlan
from db.session import DB_ERRORS
from ml.serving.predict.gateway import Gateway
from ml.serving.preview.previews import Previews
from ml.serving.registry import ModelRegistry
from ml.serving.telemetry.traffic import TrafficRecorder
from ml.settings import MlSettings
from ml.web import errors
from ml.web.api import health, traffic
from ml.web.api.monitor_metrics import MonitorMetrics
from ml.web.api.prometheus import ServingMetrics
from ml.web.auth import OperatorAuth
from ml.web.pages import (
    badge,
    dashboard,
    docs,
    monitor,
    predict,
    preview,
    pull_requests,
    releases,
    retraining,
    sign_in,
)
from ml.web.pages.render import CachedStaticFiles
from ml.web.preview_access import PreviewAccess


def install(
    app: FastAPI,
    settings: MlSettings,
    registry: ModelRegistry,
    gateway: Gateway,
    sessions: sessionmaker[Session],
    *,
    operator_auth: OperatorAuth,
    recorder: TrafficRecorder,
    previews: Previews,
) -> None:
    """Add every page and call to `app` but the hot path's."""
    app.mount("/static", CachedStaticFiles(directory=STATIC_FOLDER))
    app.include_router(dashboard.create_router(settings, registry, sessions, recorder))
    app.include_router(badge.create_router(registry))
    app.include_router(pull_requests.create_router(registry, sessions))
    app.include_router(retraining.create_router(registry, sessions))
    app.include_router(monitor.create_router(settings, registry, sessions, recorder))
    app.include_router(traffic.create_router(registry, sessions, recorder))
    app.include_router(predict.create_router(registry, gateway, sessions))
    access = PreviewAccess.from_settings(settings, operator_auth)
    app.include_router(preview.create_router(previews, access, gateway, sessions))

    def can_try(request: Request, release: Release) -> bool:
        return access.is_granted(request) and previews.is_possible(release)

    app.include_router(releases.create_router(sessions, settings, can_try))
    metrics = ServingMetrics(
        registry,
        gateway.stats,
        gateway.request_log,
        partial(read_heartbeat_age, registry, sessions),
        partial(read_plans, registry, sessions),
    )
    metrics.registry.register(MonitorMetrics(partial(read_measured, registry, sessions)))
    app.include_router(health.create_router(registry, metrics))
    app.include_router(sign_in.create_router(operator_auth))
    docs.install(app, registry)
    errors.install(app)


def read_plans(registry: ModelRegistry, sessions: sessionmaker[Session]) -> Sequence[RetrainingPlan]:
    """Return what is planned for the models; nothing while Postgres is unavailable."""
    if registry.find_database_error() is not None:
        return ()
    try:
        with sessions.begin() as session:
            return retraining_plans.list_plans(session, list(registry.by_model))
    except DB_ERRORS:
        return ()


def read_measured(registry: ModelRegistry, sessions: sessionmaker[Session]) -> MonitorSummary | None:
    """Return what the monitor measured last of the models; None while Postgres is unavailable."""
    if registry.find_database_error() is not None:
        return None
    try:
        with sessions.begin() as session:
            return monitor_metrics.summarize(session, list(registry.by_model))
    except DB_ERRORS:
        return None


def read_heartbeat_age(registry: ModelRegistry, sessions: sessionmaker[Session]) -> float | None:
    """Return the seconds since the controller's last poll; None while Postgres is unavailable."""
    if registry.find_database_error() is not None:
        return None
    try:
        with sessions.begin() as session:
            return appliance.seconds_since_heartbeat(session)
    except DB_ERRORS:
        return None
