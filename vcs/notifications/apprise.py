"""A message by Apprise, in a short-lived process with an environment of its own, of low priority, bounded."""

import json
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from common.plain import escape_unprintable
from common.system.bounded_output import OutputTooLongError, read_output
from common.system.process_guard import GUARD_COMMAND
from db.notifications import Event
from vcs.notifications.install import make_venv
from vcs.notifications.message import Message
from vcs.notifications.outcome import DELIVERED, SendOutcome
from vcs.notifications.receivers import AppriseAddress

PROGRAM = Path(__file__).with_name("apprise_process.py")
SEND_SECONDS, KILL_SECONDS = 60.0, 1
MEMORY_BYTES, MAX_PROCESSES, MAX_ANSWER_BYTES, NICE = 256 << 20, 32, 16 << 10, 5
MIN_SECRET_CHARS, MAX_SHOWN_CHARS = 3, 200
# Variables that a network may need; no token, no database.
INHERITED_VARIABLES = (
    "PATH LANG LC_ALL SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE"
    " HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY https_proxy http_proxy all_proxy no_proxy"
)
KINDS = {Event.LIVE: "success", Event.TEST: "info", Event.RETRAINED: "info"}  # others: a warning
CURE = "see that its address in SLIPWAY_NOTIFY is right, and that it can be reached from here"


def send_apprise(receiver: AppriseAddress, message: Message, folder: Path) -> SendOutcome:
    """Send a message to an address by the Apprise that is installed in `folder`."""
    environment = make_venv(folder)
    if not environment.is_current:
        return SendOutcome("Apprise is not installed yet: see the log of notify", holds_up=True)
    kind = KINDS.get(Event(message.event), "warning")
    job = {"address": receiver.address, "title": message.title, "body": message.text, "kind": kind}
    try:
        answer = run_process(environment.python, job)
    except subprocess.TimeoutExpired:
        return SendOutcome(f"it did not answer within {SEND_SECONDS:g} s: {CURE}", holds_up=True)
    except (OSError, OutputTooLongError, ValueError):
        return SendOutcome("Apprise broke off: is there enough memory?", holds_up=True)
    if answer.get("sent") is True:
        return DELIVERED
    shown = mask_address(" ".join(map(str, answer.get("log", []))), receiver.address)
    return SendOutcome(f"{shown or 'Apprise could not send it'}: {CURE}", holds_up=True)


def run_process(python: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Run the process with its job in a file that exists in memory only; return its answer."""
    with os.fdopen(os.memfd_create("job"), "w+b") as file:
        file.write(json.dumps(job).encode())
        file.flush()
        file.seek(0)
        number = str(file.fileno())
        limits = ["--memory", str(MEMORY_BYTES), "--processes", str(MAX_PROCESSES), "--gently", str(NICE)]
        guard = [*GUARD_COMMAND, "--pass", number, *limits, str(KILL_SECONDS), "SIGTERM"]
        process = subprocess.Popen(
            [*guard, str(python), "-I", str(PROGRAM), number],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(file.fileno(),),
            env=make_environment(),
            start_new_session=True,
        )
    try:
        out, _ = read_output(process, MAX_ANSWER_BYTES, SEND_SECONDS)
    finally:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()  # the guard ends what still runs
        process.wait()
    answer: dict[str, Any] = json.loads(out)
    return answer


def make_environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in INHERITED_VARIABLES.split() if name in os.environ}
    return {**passed, "HOME": "/nonexistent", "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"}


def mask_address(text: str, address: str) -> str:
    """Return what Apprise logs in one short line, without any part of the address."""
    parts = re.split(r"[:/?&=@,;]+", address.partition("://")[2])
    secrets = {form for part in parts for form in (part, unquote(part)) if len(form) >= MIN_SECRET_CHARS}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return escape_unprintable(" ".join(text.split())[:MAX_SHOWN_CHARS]).rstrip(".")
