"""Routes for people, and for programs at the same addresses: `Accept: text/html` gets the page."""

from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from ml.pages import docs, errors, health, overview, predict, releases
from ml.pages.render import STATIC, StaticFiles
from ml.serving.gateway import Gateway
from ml.serving.live import Places
from ml.settings import Settings


def install(
    app: FastAPI, settings: Settings, places: Places, gateway: Gateway, sessions: sessionmaker[Session]
) -> None:
    """Every page and call of `app` but the hot path's."""
    app.mount("/static", StaticFiles(directory=STATIC))
    app.include_router(overview.routes(settings, places, sessions))
    app.include_router(predict.routes(places, gateway))
    app.include_router(releases.routes(sessions, settings))
    app.include_router(health.routes(places))
    docs.install(app, places)
    errors.install(app)
