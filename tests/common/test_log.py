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
FORGED = "02:00:00.000 INFO    watch release 99 is live"
EVIL = f"boom \x1b]0;title\x07\x9b2J\r\n{FORGED}\n\x1b[2J\u202e\u2028{FORGED}\u2066\x85\x00\ud800"
FORGE = """
import logging
from loguru import logger
from common import log
evil = {evil!r}
log.configure("serve", {form!r})
logger.warning("a model said {{}}", evil)
logging.getLogger("uvicorn.error").warning("a client said %s", evil)
def refuse():
    try:
        raise KeyError(evil)
    except KeyError as error:
        raise ValueError(evil) from error
try:
    refuse()
except ValueError:
    logger.exception(evil)
"""


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return done.stderr.decode()


def said(form: str) -> str:
    return run(SPEAK.format(form=form))


def test_each_line_for_machines_is_an_object() -> None:
    first, second = [json.loads(line) for line in said("json").splitlines()]

    assert set(first) == {"time", "level", "service", "release", "message"}
    assert (first["service"], first["level"], first["release"]) == ("serve", "warning", 7)
    assert first["message"] == "two\nlines é"
    assert second["exception"].endswith("ZeroDivisionError: division by zero")


def test_people_get_text() -> None:
    text = said("text")

    assert r"WARNING serve two\nlines é" in text
    assert "\n    ZeroDivisionError: division by zero\n" in text


def test_text_of_others_does_nothing_in_a_log_for_people() -> None:
    text = run(FORGE.format(form="text", evil=EVIL))

    assert [c for c in text if not c.isprintable() and c not in "\n"] == []
    assert text.count(r"\x1b]0;title\x07\x9b2J\r") == 5  # three messages, and twice in the traceback
    begun = [line for line in text.split("\n") if line and not line.startswith("    ")]
    assert len(begun) == 3
    assert all(" serve " in line for line in begun)
    assert not any(line.startswith(FORGED[:8]) for line in begun)


def test_text_of_others_does_nothing_in_a_log_for_machines() -> None:
    text = run(FORGE.format(form="json", evil=EVIL))

    assert text.isascii()
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    documents = [json.loads(line) for line in text.split("\n") if line]
    assert [document["message"] for document in documents] == [
        f"a model said {EVIL}",
        f"a client said {EVIL}",
        EVIL,
    ]
