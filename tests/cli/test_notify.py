"""`slipway notify test` sends one message to each address, and says what became of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.receivers import SECRET, WebhookReceiver

SLIPWAY = Path(sys.executable).with_name("slipway")
APPRISE = Path(__file__).parents[2] / ".slipway" / "tests" / "notify" / "environment"


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    made.open()
    yield made
    made.close()


def run(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
    command = [str(SLIPWAY), "notify", "test"]
    environment = own | {"SLIPWAY_APPRISE": str(APPRISE)} | variables
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_each_address_gets_one_and_a_line(receiver: WebhookReceiver, tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        SLIPWAY_WEBHOOKS=f"{receiver.url} {SECRET}",
        SLIPWAY_NOTIFY=f"json://127.0.0.1:{receiver.port}",
        SLIPWAY_NOTIFY_ALLOW="127.0.0.1",
    )

    assert ended.stdout.splitlines() == [
        "webhook 1 (127.0.0.1): it took the test message.",
        "notification address 1 (json): it took the test message.",
    ]
    assert ended.returncode == 0
    webhook, by_apprise = receiver.received
    assert webhook.is_signed()
    assert webhook.type == "notification.test"
    assert by_apprise.document["title"] == "Slipway: a test"


def test_what_did_not_work_has_its_cure(receiver: WebhookReceiver, tmp_path: Path) -> None:
    receiver.status = 401
    webhooks = f"{receiver.url} {SECRET} https://127.0.0.2/hidden {SECRET}"
    ended = run(tmp_path, SLIPWAY_WEBHOOKS=webhooks, SLIPWAY_NOTIFY_ALLOW="127.0.0.1")

    assert ended.returncode == 1
    first, second = ended.stdout.splitlines()
    assert first.endswith("it answered 401: see that it has the same secret as SLIPWAY_WEBHOOKS.")
    assert second.endswith(
        "127.0.0.2 is not on the internet: if it is meant, name it in SLIPWAY_NOTIFY_ALLOW."
    )
    assert "hidden" not in ended.stdout


def test_without_an_address_it_says_what_to_set(tmp_path: Path) -> None:
    ended = run(tmp_path)

    assert ended.returncode == 1
    assert "set SLIPWAY_WEBHOOKS or SLIPWAY_NOTIFY" in ended.stderr
