"""Samples predictions into Postgres, off the hot path: bounded, in batches, at most one write a second."""

import asyncio
import random

import msgspec
from loguru import logger
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from db import predictions
from db.models import Prediction
from ml.model.jsonable import DEEPEST, is_deeper
from ml.serving.answers import Label
from ml.serving.protocol import PredictionJson
from ml.serving.threads import aside

SAMPLE = 50  # predictions kept of those between two writes
LARGEST = 64 << 10  # bytes of features and prediction together
PAUSE = 1.0  # seconds between two writes

Sampled = tuple[Label, bytes, bytes]


class Recorder:
    """`offer` costs next to nothing; `run` writes until it is cancelled."""

    def __init__(self, sessions: sessionmaker[Session], on: bool) -> None:
        self._sessions, self._on = sessions, on
        self._sample: list[Sampled] = []
        self._seen = 0
        self._something = asyncio.Event()

    def offer(self, label: Label, body: bytes, prediction: PredictionJson) -> None:
        """A prediction that was answered; each of those between two writes is kept with the same chance."""
        if not self._on or not isinstance(prediction, bytes):  # a large one is too large to keep
            return
        self._seen += 1
        if len(self._sample) < SAMPLE:
            self._sample.append((label, body, prediction))
            self._something.set()
        elif (at := int(random.random() * self._seen)) < SAMPLE:  # noqa: S311 (a sample, no secret)
            self._sample[at] = (label, body, prediction)

    async def run(self) -> None:
        while True:
            await self._something.wait()
            sample, self._sample, self._seen = self._sample, [], 0
            self._something.clear()
            try:
                await aside(self._write, sample)
            except DBAPIError as error:  # a sample is not worth waiting for Postgres
                logger.debug("{} sampled predictions are lost: {}", len(sample), error.orig)
            except Exception:  # noqa: BLE001 (a bug of ours must not stop the recording)
                logger.exception("{} sampled predictions are lost", len(sample))
            await asyncio.sleep(PAUSE)

    def _write(self, sample: list[Sampled]) -> None:
        rows = [prediction for sampled in sample for prediction in parsed(*sampled)]
        try:
            self._save(rows)
        except DataError:  # JSON that Postgres cannot hold (a NUL in a text) costs its own row alone
            for row in [prediction for sampled in sample for prediction in parsed(*sampled)]:
                try:
                    self._save([row])
                except DataError as error:
                    logger.debug("a sampled prediction is lost: {}", error.orig)

    def _save(self, rows: list[Prediction]) -> None:
        with self._sessions.begin() as session:
            predictions.record(session, rows)


def parsed(label: Label, body: bytes, prediction: bytes) -> list[Prediction]:
    """The table's row; none when it is too large, too deep, or no JSON (the worker's part is foreign).

    What can just be read cannot be written: where that happens, more frames are on the stack.
    """
    if len(body) + len(prediction) > LARGEST:
        return []
    try:
        request = {"features": msgspec.json.decode(body)}
        answer = {"prediction": msgspec.json.decode(prediction)}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []
    if is_deeper([request, answer], DEEPEST):
        return []
    return [Prediction(model=label.model, release_id=label.release, request=request, answer=answer)]
