"""Starts `serve`: `python -m ml`."""

import sys
from threading import Event
from types import FrameType

import uvicorn
from loguru import logger

from common import log
from common.server import Config, limit_clients
from common.settings import read
from ml.app import create
from ml.runner import measures
from ml.settings import Settings

GRACE = 2  # seconds that open requests get at the end
THREADS_TAKE_TURNS = 0.0005  # seconds: what works beside the event loop holds a prediction up for no longer


class Server(uvicorn.Server):
    """Says that it ends before it waits for what would go on, such as a log that is followed."""

    def __init__(self, config: uvicorn.Config, ending: Event) -> None:
        super().__init__(config)
        self.ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.ending.set()
        super().handle_exit(sig, frame)


def main() -> None:
    settings = read(Settings)
    log.configure("serve", settings.log)
    measures.say(settings)
    sys.setswitchinterval(THREADS_TAKE_TURNS)
    logger.info("serving on http://{}:{}", settings.bind, settings.ml_port)
    ending = Event()
    limits = limit_clients(settings.trusted_proxies)
    config = Config(
        create(settings, ending), host=settings.bind, port=settings.ml_port, limits=limits, grace=GRACE
    )
    server = Server(config, ending)
    server.run()
    if not server.started:
        sys.exit(1)


if __name__ == "__main__":
    main()
