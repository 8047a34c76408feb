"""Routes for people, and for programs at the same addresses: `Accept: text/html` gets the page."""

from datetime import datetime
from functools import partial

from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from db import appliance
from ml.api.access import Operators
from ml.pages import docs, errors, health, overview, predict, releases, sign_in
from ml.pages.render import STATIC, StaticFiles
from ml.serving.gateway import Gateway
from ml.serving.live import Places
from ml.serving.metrics import Metrics
from ml.settings import Settings


def install(
    app: FastAPI,
    settings: Settings,
    places: Places,
    gateway: Gateway,
    sessions: sessionmaker[Session],
    *,
    operators: Operators,
) -> None:
    """Every page and call of `app` but the hot path's."""
    app.mount("/static", StaticFiles(directory=STATIC))
    app.include_router(overview.routes(settings, places, sessions, gateway.calls))
    app.include_router(predict.routes(places, gateway))
    app.include_router(releases.routes(sessions, settings))
    app.include_router(
        health.routes(places, Metrics(places, gateway.calls, partial(looked_at, places, sessions)))
    )
    app.include_router(sign_in.routes(operators))
    docs.install(app, places)
    errors.install(app)


def looked_at(places: Places, sessions: sessionmaker[Session]) -> datetime | None:
    """When the look-out looked last; None while Postgres is away."""
    if places.database() is not None:
        return None
    try:
        with sessions.begin() as session:
            return appliance.looked_at(session)
    except DBAPIError:
        return None
