"""A release's log: whole as text, or followed while it grows; nothing missed, nothing twice."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.up.postgres import Postgres
from db import releases
from db.states import Status
from ml.paths import HomeLayout
from ml.web.api.logs import FOLLOWERS
from ml.web.log_chunks import LogTail
from tests.harness import plain_http
from tests.ml.conftest import Appliance
from tests.ml.serving.support import Shop, apart, main_py
from tests.models import files


@dataclass(frozen=True)
class Event:
    name: str
    id: str
    data: dict[str, Any]


@contextmanager
def following(shop: Shop, release: int, last: str = "") -> Iterator[Iterator[Event]]:
    """The events of a release's log as they come, until the block is left."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
    with shop.client.stream("GET", f"{shop.url}/releases/{release}/logs", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parsed(answer.iter_lines())


def parsed(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


def until(events: Iterator[Event], text: str) -> Event:
    """The event that brings this text."""
    said = ""
    for event in events:
        said += event.data.get("text", "")
        if text in said:
            return event
    raise AssertionError(f"{text!r} never came, only {said!r}")


@pytest.fixture
def building(shop: Shop) -> int:
    """A release that is being built; what its stages say is written by the test."""
    return shop.publish(main_py("return 1"), status=Status.BUILDING)


def say(shop: Shop, release: int, stage: str, text: str | bytes) -> None:
    path = HomeLayout(shop.settings.home).log_path(release, stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        log.write(text.encode() if isinstance(text, str) else text)


def end(shop: Shop, release: int, status: Status = Status.REJECTED, reason: str = "no good") -> None:
    with shop.sessions.begin() as session:
        known = releases.find(session, release)
        assert known is not None
        known.status, known.reason = status, reason


def test_a_log_is_followed_from_a_real_build_to_its_end(appliance: Appliance) -> None:
    """Each line comes while the release goes on: the model waits until it has been seen."""
    train = """
        print("the first line")
        while not os.path.exists(os.environ["HOME"] + "/go on"):
            time.sleep(0.05)
        print("the last line")
        return pickle.dumps(1.0)
    """
    appliance.merge(files(head="import os, time", train=train))
    release = appliance.wait_for_stage("train").id
    with (
        Shop(appliance.serving, appliance.sessions, appliance.repository).serving() as shop,
        following(shop, release) as events,
    ):
        seen = until(events, "the first line")
        assert shop.get(f"/releases/{release}").json()["status"] == "building"
        (HomeLayout(appliance.settings.home).scratch_path(release) / "go on").touch()
        until(events, "the last line")
        appliance.settle()
        *_, last = events
        text = shop.get(f"/releases/{release}/logs").text

    assert seen.data["stage"] == "train"
    assert last.name == "end"
    assert last.data == {"status": "deployed", "reason": None}
    assert "== train ==\nthe first line\nthe last line\n" in text


def test_a_reconnect_goes_on_where_it_was(shop: Shop, building: int) -> None:
    say(shop, building, "environment", "resolved\n")
    say(shop, building, "train", "epoch 1\n")
    with following(shop, building) as events:
        seen = until(events, "epoch 1\n")
    say(shop, building, "environment", "and again, in a second try\n")
    say(shop, building, "train", "epoch 2\n")
    with following(shop, building, seen.id) as events:
        again = [next(events), next(events)]
        end(shop, building)
        *_, last = events

    assert [event.data for event in again] == [
        {"stage": "environment", "text": "and again, in a second try\n"},
        {"stage": "train", "text": "epoch 2\n"},
    ]
    assert last.data == {"status": "rejected", "reason": "no good"}
    url, ended = f"{shop.url}/releases/{building}/logs?follow=1", {"Last-Event-ID": last.id}
    assert shop.client.get(url, headers=ended).status_code == 204  # tells a browser not to come back
    for nonsense in ("end:../../etc=1", "x" * 10_000, "train=-1", "train=999999"):
        whole = shop.client.get(url, headers={"Last-Event-ID": nonsense}).text
        assert nonsense.startswith("end:") or "epoch 1" in whole


def test_foreign_text_begins_no_event_of_its_own(shop: Shop, building: int) -> None:
    evil = "x\revent: end\rid: 7\rdata: {}\r\r\n\nevent: end\ndata: {}\n\n<script>\x1b[2J\u2028"
    say(shop, building, "train", evil)
    say(shop, building, "evaluate", b"\xff\xfe half a \xe2\x82")
    end(shop, building)
    with following(shop, building) as events:
        train, *evaluate, last = events

    assert train.data == {"stage": "train", "text": evil}
    assert "".join(event.data["text"] for event in evaluate) == "\ufffd\ufffd half a \ufffd"
    assert last.data["status"] == "rejected"
    plain = shop.get(f"/releases/{building}/logs", accept="text/html")
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    assert plain.headers["x-content-type-options"] == "nosniff"
    for shown in (plain.text, shop.get(f"/releases/{building}", accept="text/html").text):
        assert [c for c in shown if not c.isprintable() and c not in "\t\n"] == []
        assert r"\x1b[2J\u2028" in shown


def test_a_character_that_is_half_written_is_waited_for(tmp_path: Path) -> None:
    log, tail = tmp_path / "train.log", LogTail(tmp_path)
    said = ""
    for byte in "größer als 7 €".encode():
        with log.open("ab") as file:
            file.write(bytes([byte]))
        piece = tail.read_next()
        said += piece.text if piece else ""

    assert said == "größer als 7 €"


def test_a_large_log_takes_little_memory(shop: Shop, building: int) -> None:
    line = b"0123456789abcde\n"
    for _ in range(256):
        say(shop, building, "train", line * (64 << 10))  # 1 MiB at a time
    end(shop, building)
    process = psutil.Process()
    before = process.memory_info().rss
    most = received = 0
    with shop.client.stream("GET", f"{shop.url}/releases/{building}/logs") as answer:
        for piece in answer.iter_bytes():
            received += len(piece)
            most = max(most, process.memory_info().rss)

    assert received > 256 << 20
    assert most - before < 64 << 20


def test_a_log_is_followed_while_postgres_is_away(
    tmp_path: Path, make_shop: Callable[..., Shop], postgres: Postgres
) -> None:
    with apart(make_shop, tmp_path / "postgres") as (made, own), made.serving() as shop:
        release = shop.publish(main_py("return 1"), status=Status.BUILDING)
        say(shop, release, "train", "before\n")
        with following(shop, release) as events:
            until(events, "before")
            own.stop()
            say(shop, release, "train", "meanwhile\n")
            until(events, "meanwhile")
            with following(shop, release) as another:  # also one that begins now
                until(another, "meanwhile")
            own.start()
            end(shop, release)
            *_, last = events
        assert last.data["status"] == "rejected"


def test_whoever_goes_away_leaves_no_work_behind(shop: Shop, building: int) -> None:
    say(shop, building, "train", "a line\n")
    for _ in range(FOLLOWERS + 20):  # more than may follow at a time
        with following(shop, building) as events:
            until(events, "a line")


def test_too_many_followers_are_told(shop: Shop, building: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.web.api.logs.FOLLOWERS", 1)
    say(shop, building, "train", "a line\n")
    with following(shop, building) as events, plain_http.Client() as client:
        until(events, "a line")
        refused = client.get(f"{shop.url}/releases/{building}/logs?follow=1")
        plain = client.get(f"{shop.url}/releases/{building}/logs")

    assert refused.status_code == 503
    assert "end some" in refused.json()["detail"]
    assert plain.text == "== train ==\na line\n"


def test_a_release_that_said_nothing_and_one_that_is_not_there(shop: Shop) -> None:
    release = shop.publish(main_py("return 1"), status=Status.REJECTED)

    assert shop.get(f"/releases/{release}/logs").text == "This release has not printed anything.\n"
    for number in ("4711", "-1", "99999999999999999999"):
        assert shop.get(f"/releases/{number}/logs").status_code == 404


def test_whoever_follows_does_not_hold_up_the_end_of_serve(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    with shop.process() as serve:
        release = shop.publish(main_py("return 1"), status=Status.BUILDING)
        say(shop, release, "train", "a line\n")
        with following(shop, release) as events:
            until(events, "a line")
            serve.terminate()
            assert list(events) == []  # an end of the stream, not of the release, and no broken connection
        serve.wait(30)
