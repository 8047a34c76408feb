"""The app of `serve`: predictions, pages, and the reconcilers that keep the wanted release live."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from loguru import logger
from starlette.types import ASGIApp

from common import problems
from common.settings import load_settings
from common.web.hosts import HostCheckMiddleware
from common.web.negotiation import HeadMiddleware
from common.web.proxies import TrustedProxyMiddleware
from db.listener import NotificationListener
from db.session import create_sessionmaker
from ml.paths import HomeLayout
from ml.serving.deployer.reconciler import DeploymentReconciler
from ml.serving.predict import mlflow_invocations, v1, v2
from ml.serving.predict.gateway import Gateway
from ml.serving.preview.previews import Previews
from ml.serving.preview.settings import PreviewSettings
from ml.serving.registry import ModelRegistry
from ml.serving.request_log.key import find_key, load_key
from ml.serving.request_log.log import RequestLog
from ml.serving.telemetry.traffic import TrafficRecorder
from ml.settings import MlSettings
from ml.web import api, pages
from ml.web.api.requests import RequestEraser
from ml.web.auth import OperatorAuth
from ml.web.auth_middleware import AuthMiddleware, is_for_programs

RELISTEN_SECONDS = 1.0  # seconds before listening starts again


def create(settings: MlSettings, shutting_down: threading.Event | None = None) -> ASGIApp:
    """Create the ASGI app of `serve`; its lifespan starts and stops every worker.

    `shutting_down` ends streamed responses.
    """
    factory = create_sessionmaker(settings.database_url)
    registry = ModelRegistry(settings.list_models())
    key_path = HomeLayout(settings.home.absolute()).record_key
    key = load_key(key_path) if settings.record else find_key(key_path)
    request_log = RequestLog(factory, key, settings.record_rows, is_on=settings.record)
    previews = Previews(registry, settings, load_settings(PreviewSettings), factory)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reconcilers = [
            DeploymentReconciler(served, settings, factory, previews.make_room)
            for served in registry.by_model.values()
        ]
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(reconciler.run()) for reconciler in reconcilers]
        tasks += [loop.create_task(request_log.run()), loop.create_task(traffic.run())]
        stop = start_listening(settings, registry, [reconciler.wake_event for reconciler in reconcilers])
        yield
        stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, previews.end_all("the service is ending"), return_exceptions=True)

    app = FastAPI(
        title="Slipway",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems.PROBLEM_RESPONSES,
    )
    operators = OperatorAuth.from_settings(settings)
    authenticated = AuthMiddleware(app, operators, is_private=settings.is_private)
    proxied = TrustedProxyMiddleware(authenticated, settings.trusted_proxies)
    gateway = Gateway(registry, request_log, HeadMiddleware(proxied))
    traffic = TrafficRecorder(gateway.stats, factory)
    api.install(
        app,
        settings,
        registry,
        factory,
        operator_auth=operators,
        ending=shutting_down or threading.Event(),
        request_log=request_log,
        eraser=RequestEraser(factory, request_log, previews, HomeLayout(settings.home.absolute())),
    )
    for protocol in (v1, v2, mlflow_invocations):
        app.include_router(protocol.create_router(gateway))
    pages.install(
        app,
        settings,
        registry,
        gateway,
        factory,
        operator_auth=operators,
        recorder=traffic,
        previews=previews,
    )
    return HostCheckMiddleware(gateway, settings.allowed_hosts, is_for_programs)


def start_listening(
    settings: MlSettings, places: ModelRegistry, events: Sequence[asyncio.Event]
) -> Callable[[], None]:
    """Set these events whenever a deployment may have been made; return the function that stops it."""
    loop = asyncio.get_running_loop()
    wakeup = NotificationListener(settings.database_url, "deployments")
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            try:
                woken, places.listen_error = wakeup.wait(settings.poll_seconds), None
            except Exception as error:  # noqa: BLE001 (a bug of ours must not end the listening)
                logger.exception("listening for deployments failed, it is started again")
                woken, places.listen_error = True, repr(error)
                wakeup.reset_connection()
                ended.wait(RELISTEN_SECONDS)
            if woken and not ended.is_set():
                with suppress(RuntimeError):  # the loop has ended in the meantime
                    loop.call_soon_threadsafe(wake)
        wakeup.close()

    def wake() -> None:
        for event in events:
            event.set()

    def stop() -> None:
        ended.set()
        wakeup.wake()

    threading.Thread(target=work, daemon=True, name="deployments").start()
    return stop
