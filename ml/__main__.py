"""Starts `serve`: `python -m ml`."""

import uvicorn
from loguru import logger

from common import log
from common.settings import read
from ml.app import create
from ml.runner import measures
from ml.settings import Settings


def main() -> None:
    settings = read(Settings)
    log.configure("serve", settings.log)
    measures.say(settings)
    logger.info("serving on http://{}:{}", settings.bind, settings.ml_port)
    uvicorn.run(
        create(settings),
        host=settings.bind,
        port=settings.ml_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=75,  # longer than clients keep a connection: it is they who close it
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
