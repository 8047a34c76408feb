"""What a model says is text in every receiver, and of a bounded length."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from db.notification_models import Notification
from db.notifications import Event, bound_facts
from vcs.notifications.message import Message, make_message

HOSTILE = (
    "@everyone <!channel> [here](https://evil.example) `x` *b* _i_ www.evil.example <script> &amp; "
    "\x1b[31m\u202e"
)


def make(event: Event, base_url: str = "https://slipway.example", **facts: object) -> Message:
    told = {"model": "iris", "release": 7, "commit": "c" * 40, "reason": "it is worse", "who": "dana"} | facts
    row = Notification(subject="x", event=event.value, facts=bound_facts(told), message=uuid4())
    row.occurred_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    row.ended_at = None
    return make_message(row, base_url)


@pytest.mark.parametrize("field", ["model", "reason", "who", "commit"])
def test_hostile_text_mentions_and_links_nothing(field: str) -> None:
    message = make(Event.ROLLED_BACK, back_to=6, **{field: HOSTILE})

    for mark in ("@", "<", "[", "](", "`", "*", "https://evil", "www.", "&", "\x1b", "\u202e"):
        assert mark not in message.title + message.body


@pytest.mark.parametrize(
    "host", ["evil.example", "a.evil.example:8080", "evil.PY", "xn--e1a.xn--p1ai", "евил.рф", "10.0.0.1"]
)
@pytest.mark.parametrize("path", ["", "/login?x=1"])
def test_a_bare_host_is_no_link(host: str, path: str) -> None:
    message = make(Event.REJECTED, model=f"{host}{path}", reason=f"see {host}{path}, or ({host}{path})")

    assert host not in message.title + message.body
    assert host in message.title.replace("\u2024", ".")


def test_names_of_files_and_numbers_stay() -> None:
    reason = "in slipway.toml data/train.csv has 0.3/0.25 of v1.2.3, with numpy 2.4.1"
    assert make(Event.REJECTED, reason=reason).body.endswith(f"{reason}.")


def test_names_of_models_stay_as_they_are() -> None:
    message = make(Event.REJECTED, model="web_traffic-2.v_1", reason="_RMSE_ of train_loss is 0.3, not < 0.2")

    assert message.title == "web_traffic-2.v_1: release 7 was rejected"
    assert message.body.endswith("ˍRMSEˍ of train_loss is 0.3, not ‹ 0.2.")


def test_a_message_is_bounded() -> None:
    message = make(Event.REJECTED, model="m" * 100_000, reason="é" * 1_000_000)

    assert len(message.title) <= 120
    assert len(message.body) <= 900
    assert len(message.to_json()) < 20_000


EXAMPLES = {
    Event.LIVE: ({"replaced": 6, "pull_request": 3}, "iris: release 7 is live"),
    Event.REJECTED: ({}, "iris: release 7 was rejected"),
    Event.FAILED: ({}, "iris: release 7 failed"),
    Event.ROLLED_BACK: ({"back_to": 6}, "iris: release 7 was rolled back"),
    Event.NOTHING_LIVE: ({}, "iris: nothing is live"),
    Event.RETRAINED: ({"outcome": "live"}, "iris: release 7 was retrained and is live"),
    Event.DRIFT: ({"release": None}, "iris gets other requests than before"),
    Event.DECAY: ({"release": None}, "iris predicts worse than before"),
    Event.GITHUB_UNREACHABLE: ({"problem": "GitHub does not answer"}, "GitHub cannot be reached"),
    Event.MLFLOW_UNREACHABLE: ({"problem": "no answer"}, "MLflow cannot be reached"),
    Event.DISK_NEARLY_FULL: ({"free_bytes": 1 << 30, "total_bytes": 1 << 35}, "The disk is nearly full"),
}


@pytest.mark.parametrize("event", [event for event in Event if event is not Event.TEST])
def test_each_event_has_a_title_a_sentence_and_a_link(event: Event) -> None:
    facts, title = EXAMPLES[event]
    message = make(event, **facts)

    assert message.title == title
    assert message.body.endswith(".")
    assert (message.url or "").startswith("https://slipway.example/")
    assert make(event, base_url="", **facts).url is None
