"""One log for each service: loguru to stderr, as text for people or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Literal

from loguru import logger

from common import closed

if TYPE_CHECKING:
    from loguru import Message

TEXT = "<green>{time:HH:mm:ss.SSS}</green> <level>{level: <7}</level> <cyan>{extra[service]}</cyan> {message}"


class Intercept(logging.Handler):
    """Routes the standard library's logging (uvicorn, alembic) through loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        logger.opt(depth=6, exception=record.exc_info).log(level, "{}", record.getMessage())


def as_json(message: Message) -> None:
    """One object a line: time, level, service, message, and whatever else is known, such as the release."""
    record = message.record
    document = {
        "time": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name.lower(),
        **record["extra"],
        "message": record["message"],
    }
    if record["exception"] is not None:
        document["exception"] = str(message).strip()
    sys.stderr.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")


def configure(service: str, form: Literal["text", "json"] = "text", level: str = "INFO") -> None:
    """Call once, first thing in a process. `backtrace` and `diagnose` stay off: they print variables.

    What has a log is a service and holds secrets: it is closed to other processes, too.
    """
    closed.close()
    logger.remove()
    logger.configure(extra={"service": service})
    logger.add(
        as_json if form == "json" else sys.stderr,
        level=level,
        format="{exception}" if form == "json" else TEXT,
        backtrace=False,
        diagnose=False,
    )
    logging.basicConfig(handlers=[Intercept()], level=logging.WARNING, force=True)
    for name in ("uvicorn", "uvicorn.error"):
        stdlib = logging.getLogger(name)
        stdlib.handlers, stdlib.propagate = [], True
        stdlib.setLevel(logging.WARNING)
