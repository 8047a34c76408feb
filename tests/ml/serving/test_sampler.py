"""Predictions are sampled into Postgres, off the hot path."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import predictions
from db.models import Prediction
from ml.serving.telemetry.sampler import SAMPLE_SIZE, PredictionSampler
from ml.serving.workers.responses import Label
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py


def recorded(shop: Shop) -> list[tuple[object, object]]:
    with shop.sessions.begin() as session:
        rows = session.scalars(select(Prediction).order_by(Prediction.id)).all()
        return [(row.request["features"], row.answer["prediction"]) for row in rows]


def test_what_was_asked_and_answered_is_kept(shop: Shop) -> None:
    release = shop.publish(main_py("if features == 'bad': raise ValueError\nreturn [features]"))
    shop.predict("bad")
    shop.predict({"a": 1})
    wait_until(lambda: recorded(shop) == [({"a": 1}, [{"a": 1}])], 20, "the prediction is recorded")

    shop.predict("a text with a NUL: \0")  # Postgres has no place for that one
    shop.client.post(shop.url + "/predict", content=b"null")

    wait_until(lambda: (None, [None]) in recorded(shop), 20, "the others are recorded")
    with shop.sessions.begin() as session:
        assert {row.release_id for row in session.scalars(select(Prediction))} == {release}


def test_what_is_nested_too_deep_to_be_kept_costs_no_others(shop: Shop) -> None:
    """JSON of a depth that can be read, and cannot be written from deeper within a program."""
    shop.publish(main_py("return 1"))
    for number in range(7):
        for depth in range(940, 996, 8):
            shop.client.post(shop.url + "/predict", content="[" * depth + "]" * depth)
        shop.predict({"number": number})

    wait_until(lambda: ({"number": 6}, 1) in recorded(shop), 30, "the others are recorded")


def test_what_is_kept_is_bounded_in_rows_and_in_age(sessions: sessionmaker[Session]) -> None:
    def made(number: int, model: str = "web-traffic", days: int = 0) -> Prediction:
        at = datetime.now(UTC) - timedelta(days=days)
        said = {"request": {"features": number}, "answer": {"prediction": number}}
        return Prediction(model=model, release_id=1, at=at, **said)

    with sessions.begin() as session:
        predictions.record_batch(session, [made(0, "other", days=31), made(1, "other", days=29)])
        predictions.record_batch(session, [made(number) for number in range(predictions.MAX_PREDICTIONS + 5)])

        kept = session.scalars(select(Prediction).order_by(Prediction.id)).all()
        assert [row.request["features"] for row in kept if row.model == "other"] == [1]
        assert next(row.request["features"] for row in kept if row.model != "other") == 5
        assert predictions.list_distinct_features(session, "web-traffic", 2) == [1004, 1003]


def test_it_can_be_turned_off(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_RECORD="0").serving() as shop:
        shop.publish(main_py())
        for number in range(20):
            shop.predict(number)
        shop.publish(main_py())
    assert recorded(shop) == []


def test_a_busy_model_leaves_room_for_a_quiet_one(sessions: sessionmaker[Session]) -> None:
    recorder = PredictionSampler(sessions, enabled=True)
    busy, quiet = (Label(name, 1, "c" * 40) for name in ("busy", "quiet"))

    async def record() -> None:
        for number in range(10_000):
            recorder.add(busy, b"%d" % number, b"1")
        recorder.add(quiet, b"1", b"1")
        writing = asyncio.get_running_loop().create_task(recorder.run())
        while not kept("quiet"):
            await asyncio.sleep(0.05)
        writing.cancel()

    def kept(model: str) -> int:
        with sessions.begin() as session:
            return len(predictions.list_distinct_features(session, model, 100))

    asyncio.run(asyncio.wait_for(record(), 30))

    assert (kept("busy"), kept("quiet")) == (SAMPLE_SIZE, 1)
