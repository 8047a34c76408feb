"""The service vcs: `python -m vcs`."""

import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI
from loguru import logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from common import log
from common.settings import load_settings
from common.system import ports
from common.system.pinned_venv import mark_in_use
from common.system.ports import PortTakenError
from common.web.connection_limits import make_connection_limits
from common.web.server import ServerConfig
from db import appliance, check_runs, clone_tokens, migrate, notification_deliveries
from db.session import create_sessionmaker, describe_error
from vcs.app import create_app
from vcs.github_app import KeyFileError
from vcs.notifications.settings import NotificationSettings
from vcs.settings import VcsSettings

GRACE_SECONDS = 3  # for open requests at shutdown


class VcsServer(uvicorn.Server):
    """A server that stops the running sync before it waits for the requests that wait for it."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        for thread in app.state.threads:
            thread.stop()
        await super().shutdown(sockets)


def read_settings() -> VcsSettings:
    settings = load_settings(VcsSettings)
    if not settings.branches:
        sys.exit("SLIPWAY_REPOSITORY: set what to follow: owner/name, an address of git, or use models.toml")
    return settings


def prepare_app(session: Session, settings: VcsSettings, notifications: NotificationSettings) -> None:
    """Store whether there is a GitHub App and who is told, and forget what is of those that there are not."""
    has_app = settings.github_app_id is not None
    appliance.set_app(session, is_set=has_app)
    clone_tokens.delete_tokens(session, kept=settings.github_repositories if has_app else ())
    if not has_app:
        check_runs.delete_check_runs(session)
    notification_deliveries.set_on(session, [receiver.key for receiver in notifications.receivers])
    appliance.tell_known_problems(session)


def build_app(settings: VcsSettings, notifications: NotificationSettings) -> FastAPI:
    url = settings.database_url.get_secret_value()
    migrate.wait_for_postgres(url)
    made = create_sessionmaker(url)
    try:
        with made.begin() as session:
            appliance.set_mode(session, "demo" if settings.demo else "repository")
            prepare_app(session, settings, notifications)
    except appliance.WrongDatabaseError as error:
        sys.exit(str(error))
    except DBAPIError as error:
        sys.exit(f"the database is not ready: {describe_error(error)}; run `python -m db.migrate` first")
    try:
        return create_app(settings, made, notifications)
    except KeyFileError as error:
        sys.exit(str(error))


def main() -> None:
    settings, notifications = read_settings(), load_settings(NotificationSettings)
    log.configure("vcs", settings.log)
    # uvicorn raises the signal that ended it again, when the process has nothing left to do.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    try:
        listening = ports.bind_socket(settings.bind, settings.port, "VCS_PORT")
    except PortTakenError as error:
        sys.exit(str(error))
    mark_in_use(settings.singer_home)
    if notifications.addresses:
        mark_in_use(notifications.venv_folder.parent)
    limits = make_connection_limits(settings.trusted_proxies)
    app = build_app(settings, notifications)
    config = ServerConfig(app, host=settings.bind, port=settings.port, limits=limits, grace=GRACE_SECONDS)
    logger.info("follows {} on {}:{}", ", ".join(settings.branches), settings.bind, settings.port)
    VcsServer(config).run([listening])


if __name__ == "__main__":
    main()
