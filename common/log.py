"""Logging of each service: loguru to stderr, as text for people or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Literal

from loguru import logger

from common.plain import escape_and_indent, escape_unprintable
from common.system import hardening

if TYPE_CHECKING:
    from loguru import Message, Record

TEXT_FORMAT = (
    "<green>{time:HH:mm:ss.SSS}</green> <level>{level: <7}</level> <cyan>{extra[service]}</cyan> {message}"
)


class InterceptHandler(logging.Handler):
    """A handler that routes the standard library's logging (uvicorn, alembic) through loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        logger.opt(depth=6, exception=record.exc_info).log(level, "{}", record.getMessage())


def write_json(message: Message) -> None:
    """Write one object a line: time, level, service, message, and bound values such as the release."""
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


def write_text(message: Message) -> None:
    """Write one line, then an indented traceback: no untrusted text begins a line of the log."""
    text, exception = str(message), message.record["exception"]
    if exception is not None:
        text += (
            "    " + escape_and_indent("".join(traceback.format_exception(*exception)).rstrip("\n")) + "\n"
        )
    sys.stderr.write(text)


def escape_message(record: Record) -> None:
    record["message"] = escape_unprintable(record["message"])


def configure(service: str, form: Literal["text", "json"] = "text", level: str = "INFO") -> None:
    """Set up logging, once, first in a process. `backtrace` and `diagnose` stay off: they print variables.

    A process that logs is a service and holds secrets, so it is closed to other processes, too.
    """
    hardening.make_undumpable()
    logger.remove()
    if form == "json":
        logger.configure(extra={"service": service})
        logger.add(write_json, level=level, format="{exception}", backtrace=False, diagnose=False)
    else:
        logger.configure(extra={"service": service}, patcher=escape_message)
        logger.add(write_text, level=level, format=lambda _: f"{TEXT_FORMAT}\n", colorize=sys.stderr.isatty())
    logging.basicConfig(handlers=[InterceptHandler()], level=logging.WARNING, force=True)
    for name in ("uvicorn", "uvicorn.error"):
        stdlib = logging.getLogger(name)
        stdlib.handlers, stdlib.propagate = [], True
        stdlib.setLevel(logging.WARNING)
