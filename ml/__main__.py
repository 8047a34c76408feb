"""Entry point of `serve`: `python -m ml`."""

import sys
from threading import Event
from types import FrameType

import uvicorn
from loguru import logger

from common import log
from common.settings import load_settings
from common.system import ports
from common.system.ports import PortTakenError
from common.web.connection_limits import make_connection_limits
from common.web.server import ServerConfig
from ml.sandbox import report
from ml.settings import MlSettings
from ml.web.app import create

GRACE_SECONDS = 2  # seconds that open requests get at shutdown
# seconds: the longest that a thread next to the event loop delays a prediction
SWITCH_INTERVAL_SECONDS = 0.0005


class DrainingServer(uvicorn.Server):
    """A server that signals shutdown before it waits for endless responses, such as a followed log."""

    def __init__(self, config: uvicorn.Config, shutting_down: Event) -> None:
        super().__init__(config)
        self.shutting_down = shutting_down

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.shutting_down.set()
        super().handle_exit(sig, frame)


def main() -> None:
    settings = load_settings(MlSettings)
    log.configure("serve", settings.log)
    report.log_measures(settings)
    try:
        listener = ports.bind_socket(settings.bind, settings.ml_port, "ML_PORT")
    except PortTakenError as error:
        sys.exit(str(error))
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    logger.info("serving on http://{}:{}", settings.bind, settings.ml_port)
    shutting_down = Event()
    limits = make_connection_limits(settings.trusted_proxies)
    config = ServerConfig(
        create(settings, shutting_down),
        host=settings.bind,
        port=settings.ml_port,
        limits=limits,
        grace=GRACE_SECONDS,
    )
    server = DrainingServer(config, shutting_down)
    server.run([listener])
    if not server.started:
        sys.exit(1)


if __name__ == "__main__":
    main()
