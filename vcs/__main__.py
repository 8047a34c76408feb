"""The service vcs: `python -m vcs`."""

import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI
from loguru import logger
from sqlalchemy.exc import DBAPIError

from common import log, ports
from common.ports import PortTakenError
from common.server import Config, limit_clients
from common.settings import read
from db import appliance, migrate
from db.session import sessions
from vcs.app import create
from vcs.settings import VcsSettings

GRACE = 3  # seconds that open requests get at the end


class Server(uvicorn.Server):
    """Ends the sync that runs before it waits for the requests that wait for the sync."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.syncer.stop()
        await super().shutdown(sockets)


def read_settings() -> VcsSettings:
    settings = read(VcsSettings)
    if not settings.branches:
        sys.exit("SLIPWAY_REPOSITORY: say whose pull requests are followed, as owner/name, or in models.toml")
    return settings


def build(settings: VcsSettings) -> FastAPI:
    url = settings.database_url.get_secret_value()
    migrate.wait_for(url)
    made = sessions(url)
    try:
        with made.begin() as session:
            appliance.follow(session, "demo" if settings.demo else "repository")
    except appliance.Mismatch as error:
        sys.exit(str(error))
    except DBAPIError as error:
        sys.exit(f"the database is not ready: {str(error.orig).strip()}; run `python -m db.migrate` first")
    return create(settings, made)


def main() -> None:
    settings = read_settings()
    log.configure("vcs", settings.log)
    # uvicorn raises the signal that ended it once more: what it ends then is a process that is done.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    try:
        listening = ports.bind(settings.bind, settings.port, "VCS_PORT")
    except PortTakenError as error:
        sys.exit(str(error))
    limits = limit_clients(settings.trusted_proxies)
    config = Config(build(settings), host=settings.bind, port=settings.port, limits=limits, grace=GRACE)
    logger.info("follows {} on {}:{}", ", ".join(settings.branches), settings.bind, settings.port)
    Server(config).run([listening])


if __name__ == "__main__":
    main()
