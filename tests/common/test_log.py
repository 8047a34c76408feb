"""The log of a service: text for people, one JSON object a line for machines."""

import json
import subprocess
import sys

SPEAK = """
from loguru import logger
from common import log
log.configure("serve", {form!r})
logger.bind(release=7).warning("two\\nlines {{}}", "é")
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("it broke")
"""


def said(form: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SPEAK.format(form=form)], capture_output=True, text=True, check=True
    )
    return done.stderr


def test_each_line_for_machines_is_an_object() -> None:
    first, second = [json.loads(line) for line in said("json").splitlines()]

    assert set(first) == {"time", "level", "service", "release", "message"}
    assert (first["service"], first["level"], first["release"]) == ("serve", "warning", 7)
    assert first["message"] == "two\nlines é"
    assert second["exception"].endswith("ZeroDivisionError: division by zero")


def test_people_get_text() -> None:
    assert "WARNING serve two" in said("text")
