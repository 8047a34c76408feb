"""The request log of `serve`: calls get ids, and rows of those that are sampled wait to be written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from ml.manifest import RecordSection
from ml.serving.request_log.ids import CallId, IdMaker
from ml.serving.request_log.key import derive_key
from ml.serving.request_log.rate import RowRate
from ml.serving.request_log.rows import PendingRow
from ml.serving.request_log.writer import RowWriter
from ml.serving.workers.responses import Label
from ml.serving.workers.wire import PredictionJson

ROWS_PER_SECOND = 200  # of a model
RECORDED, NOT_SAMPLED, OVER_RATE, DROPPED = "recorded", "not_sampled", "over_rate", "dropped"


@dataclass(slots=True)
class Call:
    """A call of a model whose log is on; its rows are recorded together or not at all."""

    id: CallId
    model: str
    route: str
    client_id: bytes
    rules: RecordSection
    began: float  # on the monotonic clock


@dataclass(slots=True)
class ModelState:
    """What the log needs of one model."""

    ids: IdMaker
    rate: RowRate


class RequestLog:
    """A log whose `begin` and `add` cost microseconds; without a key it is off, and calls get no ids."""

    def __init__(
        self, sessions: sessionmaker[Session], key: bytes | None, rows_per_second: float = ROWS_PER_SECOND
    ) -> None:
        self._rows_per_second = rows_per_second
        self._ids_key = None if key is None else derive_key(key, "ids")
        self.fields_key = b"" if key is None else derive_key(key, "fields")
        self._models: dict[str, ModelState] = {}
        self._writer = RowWriter(sessions, self.fields_key, self._count_written)
        self.counts: dict[tuple[str, str], int] = {}  # rows, by model and by what became of them

    async def run(self) -> None:
        """Write rows until cancelled."""
        if self._ids_key is not None:
            await self._writer.run()

    async def flush(self) -> None:
        """Write all rows that were added before."""
        await self._writer.flush()

    def find_id(self, model: str, text: str) -> CallId | None:
        """Return the id of a call when it was made here for this model; None where it is forged."""
        return None if self._ids_key is None else self._get_state(model).ids.find(text)

    def begin(self, model: str, rules: RecordSection, route: str, client_id: bytes) -> Call | None:
        """Return a call with its id; None where the log is off."""
        if self._ids_key is None or not rules.enabled:
            return None
        made = self._get_state(model).ids.make(self._writer.clock_offset_ms)
        return Call(made, model, route, client_id, rules, time.monotonic())

    def add(
        self,
        call: Call | None,
        label: Label,
        features: Sequence[bytes],
        predictions: Sequence[PredictionJson],
    ) -> None:
        """Add the answered rows of a call; a large answer is too large to store."""
        if call is None or not self._accepts(call, len(features)):
            return
        for row, (given, answer) in enumerate(zip(features, predictions, strict=True)):
            self._queue(call, label, row, given, answer=answer if isinstance(answer, bytes) else None)

    def add_error(
        self, call: Call | None, label: Label, row: int, features: bytes, problem: ProblemError
    ) -> None:
        """Add the row for which a call has no answer, with the kind of error."""
        if call is None or not self._accepts(call, 1):
            return
        self._queue(call, label, row, features, error=str(problem.extra.get("error") or problem.title))

    def _queue(
        self,
        call: Call,
        label: Label,
        row: int,
        features: bytes,
        *,
        answer: bytes | None = None,
        error: str | None = None,
    ) -> None:
        milliseconds = 1000 * (time.monotonic() - call.began)
        self._writer.add(
            PendingRow(
                call.id,
                row,
                call.model,
                label.release,
                call.route,
                call.client_id,
                call.rules,
                features,
                answer,
                error,
                milliseconds,
            )
        )

    def _get_state(self, model: str) -> ModelState:
        if (state := self._models.get(model)) is None:
            assert self._ids_key is not None
            state = ModelState(IdMaker(self._ids_key, model), RowRate(self._rows_per_second))
            self._models[model] = state
        return state

    def _accepts(self, call: Call, rows: int) -> bool:
        """Decide once whether a call is recorded, and count its rows where it is not."""
        if not call.id.is_sampled(call.rules.sample):
            self._count(call.model, NOT_SAMPLED, rows)
        elif not self._models[call.model].rate.take(rows):
            self._count(call.model, OVER_RATE, rows)
        else:
            return True
        return False

    def _count(self, model: str, outcome: str, rows: int) -> None:
        self.counts[model, outcome] = self.counts.get((model, outcome), 0) + rows

    def _count_written(self, rows: Sequence[PendingRow], is_written: bool) -> None:
        for row in rows:
            self._count(row.model, RECORDED if is_written else DROPPED, 1)
