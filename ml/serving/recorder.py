"""Samples predictions into Postgres, off the hot path: bounded, in batches, at most one write a second."""

import asyncio
import random
from dataclasses import dataclass, field

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

SAMPLE = 50  # predictions of a model kept of those between two writes
LARGEST = 64 << 10  # bytes of features and prediction together
PAUSE = 1.0  # seconds between two writes

Sampled = tuple[Label, bytes, bytes]


@dataclass(slots=True)
class Sample:
    """Of one model, so that a busy one leaves room for the others."""

    kept: list[Sampled] = field(default_factory=list)
    seen: int = 0


class Recorder:
    """`offer` costs next to nothing; `run` writes until it is cancelled."""

    def __init__(self, sessions: sessionmaker[Session], on: bool) -> None:
        self._sessions, self._on = sessions, on
        self._samples: dict[str, Sample] = {}
        self._something = asyncio.Event()

    def offer(self, label: Label, body: bytes, prediction: PredictionJson) -> None:
        """A prediction that was answered; each of those between two writes is kept with the same chance."""
        if not self._on or not isinstance(prediction, bytes):  # a large one is too large to keep
            return
        if (sample := self._samples.get(label.model)) is None:
            sample = self._samples[label.model] = Sample()
            self._something.set()
        sample.seen += 1
        if len(sample.kept) < SAMPLE:
            sample.kept.append((label, body, prediction))
        elif (at := int(random.random() * sample.seen)) < SAMPLE:  # noqa: S311 (a sample, no secret)
            sample.kept[at] = (label, body, prediction)

    async def run(self) -> None:
        while True:
            await self._something.wait()
            samples, self._samples = self._samples, {}
            sample = [sampled for of_model in samples.values() for sampled in of_model.kept]
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
