"""Starts the demo's stand-in for GitHub: `python -m resources.demo`."""

import signal
import sys
from pathlib import Path
from typing import Literal

from loguru import logger
from pydantic import Field

from common import log
from common.settings import Settings as Base
from common.words import counted
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
    note(settings.home / "demo" / "address", f"http://{reachable(settings.demo_bind)}:{demo.server_port}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waiting = counted(len(demo.collection().list("open")), "open pull request")
    logger.info("{}; clone from {}", waiting, demo.clone_url)
    try:
        demo.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        demo.server_close()


def note(file: Path, text: str) -> None:
    """Where `slipway demo` in another terminal finds the stand-in."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def reachable(bind: str) -> str:
    return "127.0.0.1" if bind in ("0.0.0.0", "::") else bind


if __name__ == "__main__":
    main()
