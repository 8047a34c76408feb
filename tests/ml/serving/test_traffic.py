"""Requests by minute: of what was counted anyway, written once a minute, kept over a restart."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from db import traffic
from db.models import Deployment, HourlyTraffic, Traffic
from db.traffic import RequestCounts
from ml.serving.counters import LATENCY_BOUNDS_SECONDS, RequestStats
from ml.serving.telemetry.traffic import NO_COUNTS, TrafficRecorder
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, apart, main_py

FAILS_AT_0 = main_py("if features == 0: raise ValueError\nreturn features")
HTML = "text/html"


def shown(shop: Shop, hours: int = 1) -> dict[str, Any]:
    document: dict[str, Any] = shop.get(f"/models/{shop.model}/traffic?hours={hours}").json()
    return document


def counts(requests: int, bound: float = 0.005, failed: int = 0) -> RequestCounts:
    """So many requests of a latency below this bound."""
    latencies = list(NO_COUNTS.latencies)
    latencies[LATENCY_BOUNDS_SECONDS.index(bound)] = requests
    return RequestCounts(latencies, failed)


def add(sessions: sessionmaker[Session], model: str, ago: timedelta, counted: RequestCounts) -> None:
    with sessions.begin() as session:
        traffic.record_counts(session, {model: counted}, ago)


def rows(sessions: sessionmaker[Session]) -> list[tuple[str, int, int]]:
    """Of each row its model, its requests and how many of them failed."""
    with sessions.begin() as session:
        found = session.scalars(select(Traffic).order_by(Traffic.id)).all()
        return [(row.model, sum(row.counts), row.failed) for row in found]


def test_requests_are_seen_at_once_and_failures_are_counted(shop: Shop) -> None:
    shop.publish(FAILS_AT_0)
    assert shown(shop)["points"] == []
    for features in (1, 0, 2, 0):
        shop.predict(features)
    shop.client.post(shop.url + "/predict", content=b"no JSON")  # is the client's fault

    document = shown(shop)

    assert (document["requests"], document["failed"]) == (5, 2)
    assert 0 < document["p50_ms"] <= document["p99_ms"]
    assert [point["requests"] for point in document["points"]] in ([5], [4, 1], [3, 2], [2, 3], [1, 4])
    page = shop.get("/", HTML).text
    assert "<strong>5</strong> requests in the last hour" in page
    assert '<strong class="wrong">2 failed</strong>' in page


def test_what_came_before_anything_was_live_has_not_failed(shop: Shop) -> None:
    wait_until(lambda: "Waiting for the first" in shop.get("/", HTML).text, 20, "Postgres has been asked")
    assert shop.predict(1).status_code == 503
    assert shop.client.post(shop.url + "/invocations", json={"inputs": [1]}).status_code == 503
    shop.publish(FAILS_AT_0)
    shop.predict(0)

    document = shown(shop)

    assert (document["requests"], document["failed"]) == (3, 1)


def test_a_restart_of_serve_keeps_what_was_counted(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    with shop.serving():
        shop.publish(FAILS_AT_0)
        for features in (1, 0, 2):
            shop.predict(features)
    assert rows(shop.sessions) == [("web-traffic", 3, 1)]

    with shop.serving():
        wait_until(lambda: shop.served() == 1, 20, "it is live again")
        shop.predict(1)

        assert (shown(shop)["requests"], shown(shop)["failed"]) == (4, 1)
        assert "<strong>4</strong> requests in the last hour" in shop.get("/", HTML).text


def test_a_minute_is_one_statement_for_all_models_none_at_rest(
    sessions: sessionmaker[Session],
) -> None:
    calls, statements = RequestStats(), []
    recorder = TrafficRecorder(calls, sessions, seconds=0.05)

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement.split(maxsplit=1)[0])

    async def record() -> None:
        task = asyncio.get_running_loop().create_task(recorder.run())
        while "SELECT" not in statements:  # it has begun
            await asyncio.sleep(0.01)
        statements.clear()
        await asyncio.sleep(0.3)
        assert statements == []
        for model, kind, status in (
            ("a", "predict", 200),
            ("b", "v1", 503),
            ("b", "v2", 499),
            ("", "v1", 404),
        ):
            calls.add(model, kind, status, time.monotonic())
        while recorder.count_unrecorded() or "SELECT" not in statements:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    engine = sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", note)
    try:
        asyncio.run(asyncio.wait_for(record(), 30))
    finally:
        event.remove(engine, "before_cursor_execute", note)

    assert statements == ["INSERT", "INSERT", "DELETE", "DELETE", "SELECT"]  # minutes and hours
    assert sorted(rows(sessions)) == [("a", 1, 0), ("b", 2, 1)]


def test_predictions_go_on_without_postgres_and_minutes_follow(
    make_shop: Callable[..., Shop], tmp_path: Path
) -> None:
    with apart(make_shop, tmp_path / "postgres") as (shop, postgres):
        calls = RequestStats()
        recorder = TrafficRecorder(calls, shop.sessions, seconds=0.05)

        async def record() -> None:
            task = asyncio.get_running_loop().create_task(recorder.run())
            await asyncio.to_thread(postgres.stop)
            calls.add("m", "predict", 200, time.monotonic())
            while recorder.count_unrecorded():
                await asyncio.sleep(0.01)
            await asyncio.to_thread(postgres.start)
            while not await asyncio.to_thread(written):
                calls.add("m", "predict", 500, time.monotonic())
                await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        def written() -> bool:
            return bool(rows(shop.sessions))

        asyncio.run(asyncio.wait_for(record(), 60))
        assert all(failed == requests > 0 for _, requests, failed in rows(shop.sessions))

        with shop.serving():
            shop.publish(FAILS_AT_0)
            postgres.stop()
            assert shop.predict(3).json()["prediction"] == 3
            assert shop.get("/models/web-traffic/traffic").status_code == 503
            page = shop.get("/", HTML)
            assert page.status_code == 200
            assert "in the last hour" not in page.text
            postgres.start()
            wait_until(lambda: shop.get("/models/web-traffic/traffic").status_code == 200, 30, "it is back")
            shop.predict(3)
            assert shown(shop)["requests"] in (1, 2)  # a minute that has ended meanwhile is lost


@pytest.mark.parametrize("ours", [timedelta(hours=-30), timedelta(hours=30)])
def test_minutes_are_those_of_postgres_and_not_ours(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch, ours: timedelta
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ours.total_seconds())
    calls = RequestStats()
    recorder = TrafficRecorder(calls, sessions, seconds=0.05)

    async def record() -> None:
        task = asyncio.get_running_loop().create_task(recorder.run())
        calls.add("m", "predict", 200, time.monotonic())
        while not await asyncio.to_thread(rows, sessions):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(record(), 30))
    with sessions.begin() as session:
        age = func.now() - Traffic.minute
        assert timedelta() <= session.execute(select(age)).scalar_one() <= timedelta(minutes=2)


def test_what_is_old_or_lies_ahead_is_forgotten(sessions: sessionmaker[Session]) -> None:
    add(sessions, "gone", timedelta(hours=47), counts(1))
    add(sessions, "m", timedelta(hours=3), counts(2))
    with sessions.begin() as session:
        session.execute(update(Traffic).values(minute=Traffic.minute - timedelta(hours=2)))
        row = {"model": "m", "failed": 0, "counts": counts(9).latencies}
        session.execute(Traffic.__table__.insert().values(minute=func.now() + timedelta(days=1), **row))

    add(sessions, "m", timedelta(), counts(3))
    assert rows(sessions) == [("m", 2, 0), ("m", 3, 0)]


def test_hours_and_days_add_up_what_minutes_counted(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    add(shop.sessions, shop.model, timedelta(hours=23), counts(98, bound=0.002))
    add(shop.sessions, shop.model, timedelta(hours=23), counts(2, bound=5.0, failed=2))  # another `serve`'s
    add(shop.sessions, shop.model, timedelta(minutes=30), counts(1, bound=0.2))
    add(shop.sessions, "other", timedelta(minutes=30), counts(7))
    with shop.serving():
        shop.publish(FAILS_AT_0)
        hour, day = shown(shop, 1), shown(shop, 24)

    assert (hour["requests"], hour["failed"], len(hour["points"])) == (1, 0, 1)
    assert 150 < hour["p50_ms"] <= 200
    assert (day["requests"], day["failed"], len(day["points"])) == (101, 2, 2)
    assert 1.5 < day["p50_ms"] <= 2
    assert 3000 < day["p99_ms"] <= 5000
    assert day["points"][1]["requests"] == 1
    moments = [datetime.fromisoformat(day["points"][number]["at"]) for number in (0, 1)]
    assert all(moment.minute % 15 == 0 for moment in moments)
    assert moments[1] - moments[0] >= timedelta(hours=22)


def test_a_month_is_counted_by_hours_that_last_longer(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    for ago, counted in (
        (29, counts(98, bound=0.002)),
        (29, counts(2, bound=5.0, failed=2)),
        (33, counts(9)),
    ):
        add(shop.sessions, shop.model, timedelta(days=ago), counted)
        add(shop.sessions, "other", timedelta(days=ago), counts(7))
    add(shop.sessions, shop.model, timedelta(minutes=1), counts(1, bound=0.2))
    with shop.serving():
        shop.publish(FAILS_AT_0)
        month = shown(shop, 720)
        page = shop.get("/?hours=720", HTML).text

    assert (month["requests"], month["failed"], len(month["points"])) == (101, 2, 2)
    assert 3000 < month["p99_ms"] <= 5000
    assert "in the last 30 days" in page
    assert rows(shop.sessions) == [(shop.model, 1, 0)]
    with shop.sessions.begin() as session:
        assert session.scalar(select(func.count()).select_from(HourlyTraffic)) == 3


def test_the_page_of_all_models_counts_each_over_a_restart(two: Shop) -> None:
    two.publish(FAILS_AT_0)
    assert "There were no requests in the last hour." in two.get("/", HTML).text
    add(two.sessions, "one", timedelta(minutes=50), counts(5, failed=3))
    add(two.sessions, "one", timedelta(minutes=70), counts(100))
    add(two.sessions, "other", timedelta(minutes=50), counts(7))
    two.predict(2, "/models/one/predict")

    page = two.get("/", HTML).text

    assert '<strong>6</strong> requests in the last hour, <strong class="wrong">3 failed</strong>' in page
    assert "<strong>6</strong> requests in the last hour" in two.get("/models/one", HTML).text


def test_what_went_live_meanwhile_is_marked(shop: Shop) -> None:
    first, second = shop.publish(FAILS_AT_0), shop.publish(FAILS_AT_0 + "\n# another\n")
    broken = shop.publish("import nothing_like_it", wait=False)
    shop.until(broken, "failed")
    with shop.sessions.begin() as session:
        hours_ago = func.now() - timedelta(hours=5)
        session.execute(update(Deployment).where(Deployment.release_id == first).values(live_at=hours_ago))
    shop.predict(1)

    assert [made["release"] for made in shown(shop, 1)["deployments"]] == [second]
    assert [made["release"] for made in shown(shop, 24)["deployments"]] == [second, first]
    assert datetime.fromisoformat(shown(shop)["deployments"][0]["live_at"]) <= datetime.now(UTC)


def test_the_page_says_in_a_sentence_that_there_was_none(shop: Shop) -> None:
    shop.publish(FAILS_AT_0)

    assert "There were no requests in the last hour." in shop.get("/", HTML).text
    assert "There were no requests in the last 24 hours." in shop.get("/?hours=24", HTML).text
    assert "There were no requests in the last hour." in shop.get("/?hours=<b>", HTML).text
    assert shop.get("/models/web-traffic/traffic?hours=7").status_code == 422
    assert shop.get("/models/other/traffic").status_code == 404
