"""Every event arrives in the end, once by its id, and no more than there is to be told."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from common.system.backoff import Backoff
from db.notifications import Event
from tests.harness.receivers import SECRET, WebhookReceiver
from tests.vcs.notifications.conftest import Telling, make_settings
from vcs.notifications.delivery import NotificationSender
from vcs.notifications.message import make_test_message
from vcs.notifications.receivers import Receiver
from vcs.notifications.send import send_message


def test_an_event_arrives_signed_as_the_standard_has_it(telling: Telling, receiver: WebhookReceiver) -> None:
    telling.put()
    telling.deliver_all()

    [one] = receiver.received
    assert one.is_signed()
    assert not one.is_signed(b"another secret, of as many bytes")
    assert one.type == "release.rejected"
    assert one.document["timestamp"].endswith("Z")
    assert one.document["data"]["model"] == "iris"
    assert one.document["data"]["reason"] == "it is worse"
    assert telling.states() == ["delivered"]


def test_both_secrets_sign_while_one_replaces_the_other(telling: Telling, receiver: WebhookReceiver) -> None:
    old = "whsec_" + "b2xk" * 8
    telling.restart(make_settings(webhooks=f"{receiver.url} {SECRET} {old}"))
    telling.put()
    telling.deliver_all()

    [one] = receiver.received
    assert one.is_signed()
    assert one.is_signed(b"old" * 8)


def test_a_change_of_secrets_loses_nothing(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.status = 503
    telling.put()
    telling.deliver(lambda: len(receiver.received) == 1)
    new = "whsec_" + "bmV3" * 8
    telling.restart(make_settings(webhooks=f"{receiver.url} {new} {SECRET}"))
    receiver.status = 200
    telling.deliver(lambda: telling.states() == ["delivered"])

    assert len(set(receiver.ids)) == 1
    assert receiver.received[-1].is_signed(b"new" * 8)


def test_every_event_arrives_after_an_hour_away(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.close()
    for number in range(5):
        telling.put(f"release {number}", release=number)
    for _ in range(12):  # an hour, in which it is tried again and again
        telling.deliver(lambda: True)
        telling.delivery.deliver_next()
        telling.pass_time("5 minutes")
    receiver.open()
    telling.restart()
    telling.pass_time("1 hour")
    telling.deliver_all()

    assert sorted(one.document["data"]["release"] for one in receiver.received) == [0, 1, 2, 3, 4]
    assert len(set(receiver.ids)) == 5
    assert all(one.is_signed() for one in receiver.received)


def test_a_receiver_away_is_tried_with_one_message(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.close()
    for number in range(20):
        telling.put(f"release {number}", release=number)
    delivery = NotificationSender(telling.settings, telling.own, Backoff(3600.0, 3600.0))

    assert [delivery.deliver_next() for _ in range(20)] == [True, *[False] * 19]


def test_errors_are_retried_with_the_same_id(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.status = 500
    telling.put()
    telling.deliver(lambda: len(receiver.received) == 3)
    receiver.status = 204
    telling.deliver(lambda: telling.states() == ["delivered"])

    assert len(receiver.received) == 4
    assert len(set(receiver.ids)) == 1
    assert all(one.is_signed() for one in receiver.received)


def test_an_error_about_one_message_holds_up_no_other(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.status = 400
    telling.put("release 1")
    telling.deliver(lambda: len(receiver.received) == 1)
    receiver.status = 200
    telling.put("release 2", release=2)
    telling.deliver(lambda: "delivered" in telling.states())

    assert {one.document["data"]["release"] for one in receiver.received} == {1, 2}


def test_a_receiver_away_holds_up_no_other(
    telling: Telling, receiver: WebhookReceiver, other: WebhookReceiver
) -> None:
    receiver.close()
    telling.restart(make_settings(webhooks=f"{receiver.url} {SECRET}, {other.url} {SECRET}"))
    telling.put("release 1")
    telling.put("release 2")
    telling.deliver(lambda: len(other.received) == 2)

    receiver.open()
    telling.pass_time("10 minutes")
    telling.deliver(lambda: len(receiver.received) == 2)
    assert len(other.received) == 2


def test_a_proxy_that_is_no_address_holds_up_no_other(
    telling: Telling, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "user:hidden@proxy:3128")  # without http://
    telling.restart(make_settings(webhooks=f"https://a.invalid/x {SECRET} {receiver.url} {SECRET}"))
    telling.put()
    telling.deliver(lambda: len(receiver.received) == 1 and "HTTPS_PROXY" in (telling.problem() or ""))

    assert "hidden" not in str(telling.problem())


def test_a_fault_of_ours_is_an_error_of_its_receiver(telling: Telling) -> None:
    message = make_test_message("msg_1", datetime.now(UTC))
    outcome = send_message(telling.settings, Receiver(1, "of another kind"), message)

    assert outcome.holds_up
    assert "by a fault of Slipway" in str(outcome.error)


def test_a_pause_that_is_asked_for_is_made(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.status, receiver.answer_headers = 429, {"Retry-After": "3600"}
    telling.put("release 1")
    telling.put("release 2")
    telling.deliver(lambda: len(receiver.received) == 1)

    assert not any(telling.delivery.deliver_next() for _ in range(5))
    due = telling.delivery.find_seconds_until_due()
    assert due is not None
    assert 3500 < due <= 3600


def test_a_receiver_that_is_gone_gets_nothing_more(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.status = 410
    telling.put("release 1")
    telling.deliver_all()
    receiver.status = 200
    telling.put("release 2")
    telling.deliver_all()
    telling.restart()
    telling.put("release 3")
    telling.deliver_all()

    assert len(receiver.received) == 1
    assert "it wants no more messages" in (telling.problem() or "")

    settings = telling.settings
    telling.restart(make_settings(webhooks=f"{receiver.url}/other {SECRET}"))
    telling.restart(settings)
    telling.put("release 4", release=4)
    telling.deliver_all()
    assert receiver.received[-1].document["data"]["release"] == 4
    assert telling.problem() is None


def test_after_a_day_nothing_more_is_tried(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.status = 500
    telling.put()
    telling.deliver(lambda: len(receiver.received) == 1)
    telling.pass_time("23 hours")
    telling.deliver(lambda: len(receiver.received) == 2)
    assert telling.states() == ["pending"]
    telling.pass_time("2 hours")
    telling.deliver(lambda: telling.states() == ["expired"])
    telling.deliver_all()

    assert len(receiver.received) == 3
    assert "it answered 500" in (telling.problem() or "")
    telling.pass_time("2 days")
    telling.delivery.show_errors()
    assert telling.problem() is None


def test_a_failed_delivery_is_shown_and_forgotten(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.status = 401
    telling.put()
    telling.deliver(lambda: len(receiver.received) == 3)
    telling.delivery.show_errors()
    problem = telling.problem() or ""
    assert "Webhook 1 (127.0.0.1) was not told: it answered 401: see that it has the same secret" in problem
    assert "hidden-part" not in problem

    receiver.status = 200
    telling.deliver(lambda: telling.states() == ["delivered"])
    assert telling.problem() is None


def test_old_messages_are_deleted_without_a_restart(telling: Telling) -> None:
    telling.delivery = NotificationSender(telling.settings, telling.own, prune_seconds=0)
    telling.delivery.prepare()
    telling.put()
    telling.deliver_all()
    assert telling.states() == ["delivered"]
    telling.pass_time("31 days")
    telling.delivery.deliver_next()

    assert telling.states() == []
    with telling.own() as session:
        assert session.scalar(text("SELECT count(*) FROM vcs.notifications")) == 0


def test_what_was_replaced_is_not_sent(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.status = 500
    telling.put("live iris", Event.LIVE, release=1, who="gate")
    telling.deliver(lambda: len(receiver.received) == 1)
    for number in range(2, 30):
        telling.put("live iris", Event.LIVE, release=number, who="gate")
    receiver.status = 200
    telling.deliver_all()

    assert [one.document["data"]["release"] for one in receiver.received] == [1, 29]
    assert len(set(receiver.ids)) == 2


def test_a_state_is_told_once_while_it_lasts(telling: Telling, receiver: WebhookReceiver) -> None:
    for free in range(10):
        telling.begin(free_bytes=free, total_bytes=100)
        telling.deliver_all()
        telling.pass_time("3 hours")

    assert receiver.types == ["disk.nearly_full"]


def test_a_state_that_comes_and_goes_is_told_hourly(telling: Telling, receiver: WebhookReceiver) -> None:
    for _ in range(40):  # four hours of it
        telling.begin()
        telling.deliver_all()
        telling.end()
        telling.pass_time("3 minutes")
        telling.begin()
        telling.deliver_all()
        telling.end()
        telling.pass_time("3 minutes")

    assert 3 <= len(receiver.received) <= 5
    assert len(set(receiver.ids)) == len(receiver.received)


def test_a_state_that_ended_while_away_is_told_so(telling: Telling, receiver: WebhookReceiver) -> None:
    receiver.close()
    telling.begin()
    telling.deliver(lambda: telling.states() == ["pending"])
    telling.end()
    receiver.open()
    telling.pass_time("10 minutes")
    telling.deliver_all()

    [one] = receiver.received
    assert "This is over since" in one.document["data"]["text"]
    assert one.document["data"]["ended_at"] is not None


def test_nothing_is_stored_where_nobody_is_told(telling: Telling, receiver: WebhookReceiver) -> None:
    telling.put()
    telling.restart(make_settings())
    telling.put("release 2")
    telling.begin()

    with telling.own() as session:
        assert session.scalar(text("SELECT count(*) FROM vcs.notifications")) == 0
    telling.restart(make_settings(webhooks=f"{receiver.url} {SECRET}"))
    telling.deliver_all()
    assert receiver.received == []


def test_an_unknown_event_stops_no_other(telling: Telling, receiver: WebhookReceiver) -> None:
    with telling.own.begin() as session:
        session.execute(
            text("INSERT INTO vcs.notifications (subject, event, facts) VALUES ('x', 'of.tomorrow', '{}')")
        )
    telling.put()
    telling.deliver(lambda: len(receiver.received) == 1)

    assert receiver.types == ["release.rejected"]
