"""One log for each service: loguru to stderr, as text for people or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Literal

from loguru import logger

from common import closed
from common.plain import indented, plain

if TYPE_CHECKING:
    from loguru import Message, Record

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
    sys.stderr.write(json.dumps(document, default=str) + "\n")


def as_text(message: Message) -> None:
    """One line, and below it a traceback that is indented: no text of others begins a line of the log."""
    text, exception = str(message), message.record["exception"]
    if exception is not None:
        text += "    " + indented("".join(traceback.format_exception(*exception)).rstrip("\n")) + "\n"
    sys.stderr.write(text)


def show_plainly(record: Record) -> None:
    record["message"] = plain(record["message"])


def configure(service: str, form: Literal["text", "json"] = "text", level: str = "INFO") -> None:
    """Call once, first thing in a process. `backtrace` and `diagnose` stay off: they print variables.

    What has a log is a service and holds secrets: it is closed to other processes, too.
    """
    closed.close()
    logger.remove()
    if form == "json":
        logger.configure(extra={"service": service})
        logger.add(as_json, level=level, format="{exception}", backtrace=False, diagnose=False)
    else:
        logger.configure(extra={"service": service}, patcher=show_plainly)
        logger.add(as_text, level=level, format=lambda _: f"{TEXT}\n", colorize=sys.stderr.isatty())
    logging.basicConfig(handlers=[Intercept()], level=logging.WARNING, force=True)
    for name in ("uvicorn", "uvicorn.error"):
        stdlib = logging.getLogger(name)
        stdlib.handlers, stdlib.propagate = [], True
        stdlib.setLevel(logging.WARNING)
