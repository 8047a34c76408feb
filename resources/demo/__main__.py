"""The demo's fake of GitHub: `python -m resources.demo`."""

import signal
import sys
from pathlib import Path
from typing import Literal

from loguru import logger
from pydantic import Field

from common import log
from common.settings import Settings as Base
from common.words import format_count
from resources.demo.demo_github import REPOSITORY_NAME, DemoPullRequests
from resources.demo.github.webhooks import WebhookSender
from resources.demo.server import create_demo_server


class DemoServerSettings(Base):
    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    data: Path | None = Field(None, validation_alias="SLIPWAY_DATA")
    demo_bind: str = "127.0.0.1"
    demo_port: int = 8090
    demo_webhook_url: str = ""
    webhook_secret: str = Field("", validation_alias="SLIPWAY_WEBHOOK_SECRET", repr=False)
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")


def main() -> None:
    settings = DemoServerSettings()
    log.configure("demo", settings.log)
    webhook = WebhookSender(settings.demo_webhook_url, settings.webhook_secret)
    desk = DemoPullRequests(settings.home / "demo", webhook, find_data_folder(settings))
    try:
        demo = create_demo_server(desk, settings.demo_bind, settings.demo_port)
    except OSError as error:
        address = f"{settings.demo_bind}:{settings.demo_port}"
        sys.exit(f"The demo cannot listen on {address}: {error.strerror}. Name another port with DEMO_PORT.")
    write_address(
        settings.home / "demo" / "address", f"http://{reachable_host(settings.demo_bind)}:{demo.server_port}"
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waiting = format_count(len(demo.get_pulls().list_pulls("open")), "open pull request")
    logger.info("{}; clone from {}", waiting, demo.clone_url)
    try:
        demo.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        demo.server_close()


def find_data_folder(settings: DemoServerSettings) -> Path | None:
    """Return the model's folder on the appliance; None in Docker, where the demo has another disk."""
    if settings.demo_bind != "127.0.0.1":
        return None
    return (settings.data or settings.home / "data") / REPOSITORY_NAME.rpartition("/")[2]


def write_address(file: Path, text: str) -> None:
    """Write the server's address for `slipway demo` in another terminal."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def reachable_host(bind: str) -> str:
    return "127.0.0.1" if bind in ("0.0.0.0", "::") else bind


if __name__ == "__main__":
    main()
