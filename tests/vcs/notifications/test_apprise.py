"""The real Apprise in its own environment, against a web and a mail server on loopback."""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.header import decode_header, make_header
from pathlib import Path

import psutil
import pytest

from db.notifications import Event
from tests.harness.receivers import MailReceiver, WebhookReceiver
from tests.harness.waiting import wait_until
from tests.vcs.notifications.conftest import APPRISE, Telling, make_settings
from tests.vcs.notifications.test_message import HOSTILE, make
from vcs.notifications import apprise
from vcs.notifications.install import install
from vcs.notifications.message import make_test_message
from vcs.notifications.outcome import SendOutcome
from vcs.notifications.receivers import AppriseAddress

PASSWORD = "pass-word-of-the-mailbox"
MESSAGE = make_test_message("msg_1", datetime.now(UTC))


@pytest.fixture(scope="module", autouse=True)
def installed() -> Path:
    return install(APPRISE).folder


@pytest.fixture
def mail() -> Iterator[MailReceiver]:
    made = MailReceiver()
    yield made
    made.shutdown()
    made.server_close()


def mail_address(mail: MailReceiver) -> str:
    people = "from=slipway@here.example&to=dana@there.example"
    return f"mailto://127.0.0.1:{mail.port}?user=robot&pass={PASSWORD}&{people}&mode=insecure"


def json_address(receiver: WebhookReceiver) -> str:
    return f"json://robot:{PASSWORD}@127.0.0.1:{receiver.port}/path"


def send(address: str) -> SendOutcome:
    return apprise.send_apprise(AppriseAddress(1, address), MESSAGE, APPRISE)


def test_an_event_arrives_by_json_and_by_mail(
    telling: Telling, receiver: WebhookReceiver, mail: MailReceiver
) -> None:
    telling.restart(make_settings(notify=f"{json_address(receiver)}, {mail_address(mail)}"))
    telling.put(reason="SMAPE 0.3 is above 0.2")
    telling.deliver(lambda: telling.states() == ["delivered"] * 2, 120)

    sent = json.loads(receiver.received[0].body)
    assert sent["title"] == "iris: release 1 was rejected"
    assert sent["message"].endswith("was rejected: SMAPE 0.3 is above 0.2.")
    assert sent["type"] == "warning"
    [message] = mail.messages
    assert str(make_header(decode_header(message["Subject"]))) == sent["title"]
    assert "SMAPE 0.3 is above 0.2" in message.as_string().replace("=\n", "")
    assert "dana@there.example" in message["To"]


def test_hostile_text_is_text_in_a_mail(mail: MailReceiver) -> None:
    hostile = make(Event.REJECTED, model=HOSTILE, reason=f"{HOSTILE}\r\nBcc: eve@evil.example\r\n\r\nx")
    outcome = apprise.send_apprise(AppriseAddress(1, mail_address(mail)), hostile, APPRISE)

    assert outcome.is_delivered
    [message] = mail.messages
    assert message["Bcc"] is None
    for part in message.walk():
        text = part.get_payload(decode=True)
        assert not isinstance(text, bytes) or b"<script>" not in text


def test_what_does_not_arrive_is_named_without_secrets(receiver: WebhookReceiver) -> None:
    receiver.close()
    for address in (
        json_address(receiver),
        f"slack://{PASSWORD}/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        f"nosuch://{PASSWORD}",
    ):
        error = send(address).error or ""
        assert "see that its address in SLIPWAY_NOTIFY is right" in error
        assert PASSWORD not in error
        assert "A1BRTD4JD" not in error


def test_no_part_of_an_address_is_in_what_apprise_logs() -> None:
    address = "slack://robot%40home:pass-word@T1JJ3T3L2/A1BRTD4JD/?token=TIiajkdn&x=1"
    log = "robot@home could not post to /T1JJ3T3L2/A1BRTD4JD with pass-word (TIiajkdn):\n\x1b[2J 403"

    assert apprise.mask_address(log, address) == "*** could not post to /***/*** with *** (***): \\x1b[2J 403"


def test_redirects_are_not_followed(receiver: WebhookReceiver, other: WebhookReceiver) -> None:
    receiver.status, receiver.answer_headers = 307, {"Location": other.url}
    outcome = send(json_address(receiver))

    assert not outcome.is_delivered
    assert other.received == []


def test_an_address_is_in_no_argument_and_no_environment(receiver: WebhookReceiver) -> None:
    seen: list[tuple[list[str], bytes, bool]] = []
    secrets = (PASSWORD.encode(), base64.b64encode(f"robot:{PASSWORD}".encode()))

    def look() -> None:
        for process in psutil.Process().children(recursive=True):
            folder = Path(f"/proc/{process.pid}")
            readable = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            seen.append((process.cmdline(), readable, any(secret in readable for secret in secrets)))

    receiver.before_answer = look
    assert send(json_address(receiver)).is_delivered

    assert any("apprise_process.py" in " ".join(command) for command, _, _ in seen)
    assert not any(has_secret for _, _, has_secret in seen)


def test_one_that_hangs_is_ended(receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise, "SEND_SECONDS", 5.0)
    ended = threading.Event()
    receiver.before_answer = lambda: ended.wait(60) and None
    outcome = send(f"{json_address(receiver)}?rto=300")
    ended.set()

    assert "it did not answer within 5 s" in (outcome.error or "")
    wait_until(lambda: not list_senders(), 20, "its process is gone")


def test_one_that_takes_too_much_memory_is_ended(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprise, "MEMORY_BYTES", 8 << 20)
    receiver.before_answer = lambda: threading.Event().wait(5) and None
    outcome = send(f"{json_address(receiver)}?rto=30")

    assert "Apprise broke off: is there enough memory?" in (outcome.error or "")
    assert not list_senders()


def list_senders() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [one for one in children if "apprise_process.py" in " ".join(one.cmdline())]


def test_without_its_environment_it_is_tried_later(tmp_path: Path) -> None:
    outcome = apprise.send_apprise(AppriseAddress(1, "json://127.0.0.1"), MESSAGE, tmp_path)

    assert "Apprise is not installed yet" in (outcome.error or "")
    assert outcome.holds_up
