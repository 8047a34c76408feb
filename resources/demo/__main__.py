"""Starts the demo's stand-in for GitHub: `python -m resources.demo`."""

import signal
import sys
from pathlib import Path
from typing import Literal

from loguru import logger
from pydantic import Field

from common import log
from common.settings import Settings as Base
from resources.demo.desk import Desk
from resources.demo.server import serve


class Settings(Base):
    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    demo_bind: str = "127.0.0.1"
    demo_port: int = 8090
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")


def main() -> None:
    settings = Settings()
    log.configure("demo", settings.log)
    desk = Desk(settings.home / "demo")
    try:
        demo = serve(desk, settings.demo_bind, settings.demo_port)
    except OSError as error:
        address = f"{settings.demo_bind}:{settings.demo_port}"
        sys.exit(f"The demo cannot listen on {address}: {error.strerror}. Name another port with DEMO_PORT.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logger.info("{} open pull requests; clone from {}", len(demo.collection().list("open")), demo.clone_url)
    try:
        demo.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        demo.server_close()


if __name__ == "__main__":
    main()
