"""One try: what each answer means, and where nothing is sent to."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from common.allowed_addresses import AddressPolicy
from tests.harness.drip import DRIPS, Drip, dripping
from tests.harness.receivers import SECRET, SECRET_BYTES, WebhookReceiver
from tests.vcs.notifications.conftest import make_settings
from vcs.notifications.message import make_test_message
from vcs.notifications.outcome import SendOutcome
from vcs.notifications.receivers import WebhookAddress
from vcs.notifications.webhook import send_webhook, sign

MESSAGE = make_test_message("msg_1", datetime.now(UTC))
HERE = AddressPolicy.from_text("127.0.0.1, localhost")


def send(url: str, allowed: AddressPolicy = HERE, seconds: float = 15) -> SendOutcome:
    return send_webhook(WebhookAddress(1, url, [SECRET_BYTES]), MESSAGE, allowed, seconds)


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of the reference libraries' own tests."""
    import base64

    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_redirects_are_not_followed(receiver: WebhookReceiver, other: WebhookReceiver) -> None:
    receiver.status, receiver.answer_headers = 307, {"Location": other.url}
    outcome = send(receiver.url)

    assert "it answered 307, and redirects are not followed" in (outcome.error or "")
    assert other.received == []


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://[::1]/x",
        "https://10.0.0.1/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest",
        "https://[::ffff:169.254.169.254]/x",
        "https://2852039166/x",
        "https://0.0.0.0/x",
    ],
)
def test_nothing_is_sent_to_this_machine_or_its_network(address: str) -> None:
    outcome = send(address, AddressPolicy())
    assert "is not on the internet: if it is meant, name it in SLIPWAY_NOTIFY_ALLOW" in (outcome.error or "")


@pytest.fixture(params=DRIPS)
def drip(request: pytest.FixtureRequest) -> Iterator[Drip]:
    with dripping(*request.param) as made:
        yield made


def test_an_answer_without_end_takes_bounded_time(drip: Drip) -> None:
    began = time.monotonic()
    outcome = send(drip.url, seconds=1)

    assert outcome.error is not None
    assert outcome.holds_up
    assert time.monotonic() - began < 10


def test_an_endless_body_is_not_read(receiver: WebhookReceiver) -> None:
    receiver.answer_headers = {"Content-Length": str(1 << 40)}
    assert send(receiver.url).is_delivered


def test_a_slow_receiver_is_tried_again(receiver: WebhookReceiver) -> None:
    ended = threading.Event()
    receiver.before_answer = lambda: ended.wait(30) and None
    outcome = send(receiver.url, seconds=0.5)
    ended.set()

    assert outcome.error == "it did not answer within 0.5 s: see that it runs"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://a.example/x", "webhook 1 has no secret"),
        (f"{SECRET} https://a.example/x", "it begins with a secret"),
        ("https://a.example/x whsec_c2hvcnQ=", "has 5 bytes in place of 24 to 64"),
        ("https://a.example/x whsec_!!!", "is not base64"),
        (f"ftp://a.example/x {SECRET}", "is not an address that begins with https://"),
        (f"http://a.example/x {SECRET}", "begins with http://, which anybody on the way can read"),
        (f"https://a.example/x {SECRET}\nhttps://b.example", "webhook 2 has no secret"),
    ],
)
def test_a_wrong_setting_is_named_and_not_shown(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        make_settings(webhooks=text)

    assert problem in str(raised.value)
    assert SECRET not in str(raised.value)
    assert "/x" not in str(raised.value)


def test_a_receiver_does_not_show_its_secrets() -> None:
    settings = make_settings(webhooks=f"https://a.example/hidden {SECRET}", notify="slack://hidden/token/x")

    for shown in (repr(settings), str(settings.receivers), *(one.key for one in settings.receivers)):
        assert "hidden" not in shown
        assert SECRET not in shown
