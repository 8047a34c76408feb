"""The app of `serve`: predictions, pages, and the followers that keep the right release live."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from loguru import logger
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from common import problems
from common.hosts import HostCheck
from db.session import sessions
from db.wakeup import Wakeup
from ml import api, pages
from ml.api.access import Operators
from ml.api.door import Door, is_for_programs
from ml.serving import invocations, v1, v2
from ml.serving.follow import Follower
from ml.serving.gateway import Gateway
from ml.serving.live import Places
from ml.serving.recorder import Recorder
from ml.settings import Settings

DEAF_PAUSE = 1.0  # seconds before listening begins anew


def create(settings: Settings, ending: threading.Event | None = None) -> ASGIApp:
    """`serve` as an ASGI app; its lifespan starts and ends every worker, `ending` ends what is streamed."""
    factory = sessions(settings.database_url)
    places = Places(settings.models())
    recorder = Recorder(factory, on=settings.record)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        followers = [Follower(place, settings, factory) for place in places.by_model.values()]
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(follower.run()) for follower in followers]
        tasks.append(loop.create_task(recorder.run()))
        stop = listen(settings, places, [follower.woken for follower in followers])
        yield
        stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="Slipway", lifespan=lifespan, docs_url=None, redoc_url=None, responses=problems.RESPONSES
    )
    operators = Operators.of(settings)
    door = Door(app, operators, private=settings.is_private)
    gateway = Gateway(places, recorder, proxied(door, settings))
    api.install(app, settings, places, factory, known=operators, ending=ending or threading.Event())
    for protocol in (v1, v2, invocations):
        app.include_router(protocol.routes(gateway))
    pages.install(app, settings, places, gateway, factory, operators=operators)
    return HostCheck(gateway, settings.allowed_hosts, is_for_programs)


def proxied(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Take the word of the operators' proxies on where a request is from, and by which scheme."""
    return ProxyHeadersMiddleware(app, trusted_hosts=settings.trusted_proxies)  # type: ignore[arg-type, return-value]


def listen(settings: Settings, places: Places, events: Sequence[asyncio.Event]) -> Callable[[], None]:
    """Set these events whenever a deployment may have been made; gives what ends that."""
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(settings.database_url, "deployments")
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            try:
                woken, places.deaf = wakeup.wait(settings.poll_seconds), None
            except Exception as error:  # noqa: BLE001 (a bug of ours must not end the listening)
                logger.exception("listening for deployments broke, it begins anew")
                woken, places.deaf = True, repr(error)
                wakeup.begin_anew()
                ended.wait(DEAF_PAUSE)
            if woken and not ended.is_set():
                with suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(wake)
        wakeup.close()

    def wake() -> None:
        for event in events:
            event.set()

    def stop() -> None:
        ended.set()
        with suppress(OSError):  # it has closed already
            wakeup.wake()

    threading.Thread(target=work, daemon=True, name="deployments").start()
    return stop
