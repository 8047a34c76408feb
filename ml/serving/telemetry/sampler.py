"""Sampling of predictions into Postgres, off the hot path: bounded, batched, at most one write a second."""

import asyncio
import random
from dataclasses import dataclass, field

import msgspec
from loguru import logger
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from common.system.threads import run_in_thread
from db import predictions
from db.models import Prediction
from db.session import describe_error
from ml.model_host.to_json import MAX_DEPTH, is_deeper
from ml.serving.workers.responses import Label
from ml.serving.workers.wire import PredictionJson

SAMPLE_SIZE = 50  # predictions stored of a model, of those between two writes
MAX_SAMPLE_BYTES = 64 << 10  # bytes of features and prediction together
WRITE_INTERVAL_SECONDS = 1.0  # seconds between two writes

SampledPrediction = tuple[Label, bytes, bytes]


@dataclass(slots=True)
class ModelSample:
    """The sample of one model, so that a busy one leaves room for the others."""

    predictions: list[SampledPrediction] = field(default_factory=list)
    seen: int = 0


class PredictionSampler:
    """A sampler whose `add` costs next to nothing, and whose `run` writes until it is cancelled."""

    def __init__(self, sessions: sessionmaker[Session], enabled: bool) -> None:
        self._sessions, self._enabled = sessions, enabled
        self._samples: dict[str, ModelSample] = {}
        self._sample_event = asyncio.Event()

    def add(self, label: Label, body: bytes, prediction: PredictionJson) -> None:
        """Add an answered prediction; each of those between two writes is stored with the same chance."""
        if not self._enabled or not isinstance(prediction, bytes):  # a large one is too large to store
            return
        if (sample := self._samples.get(label.model)) is None:
            sample = self._samples[label.model] = ModelSample()
            self._sample_event.set()
        sample.seen += 1
        if len(sample.predictions) < SAMPLE_SIZE:
            sample.predictions.append((label, body, prediction))
        elif (at := int(random.random() * sample.seen)) < SAMPLE_SIZE:  # noqa: S311 (a sample, no secret)
            sample.predictions[at] = (label, body, prediction)

    async def run(self) -> None:
        while True:
            await self._sample_event.wait()
            samples, self._samples = self._samples, {}
            sample = [sampled for of_model in samples.values() for sampled in of_model.predictions]
            self._sample_event.clear()
            try:
                await run_in_thread(self._write_sample, sample)
            except DBAPIError as error:  # a sample is not worth waiting for Postgres
                logger.debug("{} sampled predictions are lost: {}", len(sample), describe_error(error))
            except Exception:  # noqa: BLE001 (a bug of ours must not stop the recording)
                logger.exception("{} sampled predictions are lost", len(sample))
            await asyncio.sleep(WRITE_INTERVAL_SECONDS)

    def _write_sample(self, sample: list[SampledPrediction]) -> None:
        rows = [prediction for sampled in sample for prediction in to_predictions(*sampled)]
        try:
            self._save_rows(rows)
        except DataError:  # JSON that Postgres cannot hold (a NUL in a text) costs its own row alone
            for row in [prediction for sampled in sample for prediction in to_predictions(*sampled)]:
                try:
                    self._save_rows([row])
                except DataError as error:
                    logger.debug("a sampled prediction is lost: {}", describe_error(error))

    def _save_rows(self, rows: list[Prediction]) -> None:
        with self._sessions.begin() as session:
            predictions.record_batch(session, rows)


def to_predictions(label: Label, body: bytes, prediction: bytes) -> list[Prediction]:
    """Return the table's row; none when it is too large, too deep, or no JSON (a worker is untrusted).

    The depth is checked although it was decoded: writing happens with more frames on the stack than reading.
    """
    if len(body) + len(prediction) > MAX_SAMPLE_BYTES:
        return []
    try:
        request = {"features": msgspec.json.decode(body)}
        answer = {"prediction": msgspec.json.decode(prediction)}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []
    if is_deeper([request, answer], MAX_DEPTH):
        return []
    return [Prediction(model=label.model, release_id=label.release, request=request, answer=answer)]
