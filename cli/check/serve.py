"""The predict page of a checked model, for this machine alone, until Ctrl-C."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
import uvicorn
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker
from starlette.types import ASGIApp

from cli import terminal
from cli.check.first_prediction import FirstPrediction
from common import problems
from common.web.connection_limits import make_connection_limits
from common.web.host_names import AllowedHosts
from common.web.hosts import HostCheckMiddleware
from common.web.negotiation import HeadMiddleware
from common.web.server import ServerConfig
from common.web.templates import STATIC_FOLDER
from db.models import Deployment
from ml.builder.context import BuildContext
from ml.serving.predict import mlflow_invocations, v1, v2
from ml.serving.predict.gateway import Gateway
from ml.serving.registry import LiveRelease, ModelRegistry
from ml.serving.request_log.log import RequestLog
from ml.serving.workers.pool import Pool
from ml.web import errors
from ml.web.pages import docs, predict
from ml.web.pages.render import CachedStaticFiles

HOST = "127.0.0.1"
GRACE_SECONDS = 1  # seconds that open requests get at the end


class ForegroundServer(uvicorn.Server):
    """A server that Ctrl-C ends as a success: it is how a person ends it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop, ending = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
        for number in ending:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
        for number in ending:
            loop.remove_signal_handler(number)


async def serve_model(context: BuildContext, pool: Pool, first: FirstPrediction) -> None:
    """Serve predictions and their page on a free port of loopback, until Ctrl-C."""
    app = create_app(context, pool, first)
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        limits = make_connection_limits(())
        config = ServerConfig(app, host=HOST, port=port, limits=limits, grace=GRACE_SECONDS)
        terminal.print_text(f"try it at http://{HOST}:{port}/predict; Ctrl-C ends it")
        await ForegroundServer(config).serve([listener])


def create_app(context: BuildContext, pool: Pool, first: FirstPrediction) -> ASGIApp:
    """Create the app of one model, without what needs a database or operators."""
    sessions = sessionmaker[Session]()  # of no database: only a model that is not loaded is looked for there
    registry = ModelRegistry([context.model])
    release = context.release
    registry.find(release.model).live = LiveRelease(
        deployment=Deployment(release_id=release.id, model=release.model),
        release=release,
        pool=pool,
        since=datetime.now(UTC),
        reference_data=release.known or {},
        row=(msgspec.json.decode(first.features),) if first.features else None,
    )
    app = FastAPI(title="Slipway", docs_url=None, redoc_url=None, responses=problems.PROBLEM_RESPONSES)
    app.state.is_check = True
    gateway = Gateway(registry, RequestLog(sessions, key=None), HeadMiddleware(app))
    app.mount("/static", CachedStaticFiles(directory=STATIC_FOLDER))
    app.include_router(predict.create_router(registry, gateway, sessions))
    for protocol in (v1, v2, mlflow_invocations):
        app.include_router(protocol.create_router(gateway))
    docs.install(app, registry)
    errors.install(app)

    @app.get("/", include_in_schema=False)
    def first_page() -> RedirectResponse:
        return RedirectResponse("/predict")

    return HostCheckMiddleware(gateway, AllowedHosts(()), lambda _: False)
