"""The request log of `serve`: calls get ids, and rows of those that are sampled wait to be written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from ml.record_section import RecordSection
from ml.serving.request_log.ids import CallId, IdMaker
from ml.serving.request_log.key import derive_key
from ml.serving.request_log.rate import RowRate
from ml.serving.request_log.rows import PendingRow
from ml.serving.request_log.writer import RowWriter
from ml.serving.workers.responses import Label
from ml.serving.workers.wire import PredictionJson

ROWS_PER_SECOND = 200  # of a model
OUTCOMES = ("recorded", "not_sampled", "over_rate", "dropped")  # of a row


@dataclass(slots=True)
class ModelState:
    """The state of one model: its ids, its rate, and its rows by what became of them."""

    ids: IdMaker
    rate: RowRate
    recorded: int = 0
    not_sampled: int = 0
    over_rate: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Call:
    """A call of a model whose log is on; its rows are recorded together or not at all."""

    id: CallId
    state: ModelState
    model: str
    route: str
    client_id: bytes
    rules: RecordSection
    began: float  # on the monotonic clock


class RequestLog:
    """A log whose `begin` and `add` cost microseconds.

    Off, or without a key, calls get no ids; with a key, those of earlier calls are still known.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        key: bytes | None,
        rows_per_second: float = ROWS_PER_SECOND,
        *,
        is_on: bool = True,
    ) -> None:
        self._is_on = is_on and key is not None
        self._rows_per_second = rows_per_second
        self._ids_key = None if key is None else derive_key(key, "ids")
        self.fields_key = b"" if key is None else derive_key(key, "fields")
        self._models: dict[str, ModelState] = {}
        self._writer = RowWriter(sessions, self.fields_key, self._count_written)

    @property
    def is_on(self) -> bool:
        """Return whether calls get ids and are recorded."""
        return self._is_on

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """The rows of each model by what became of them."""
        return {
            (model, outcome): getattr(state, outcome)
            for model, state in list(self._models.items())
            for outcome in OUTCOMES
        }

    async def run(self) -> None:
        """Write rows until cancelled."""
        if self._is_on:
            await self._writer.run()

    async def flush(self) -> None:
        """Write all rows that were added before."""
        await self._writer.flush()

    def find_id(self, model: str, text: str) -> CallId | None:
        """Return the id of a call when it was made here for this model; None where it is forged."""
        if self._ids_key is None:
            return None
        return (self._models.get(model) or self._create_state(model)).ids.find(text)

    def begin(self, model: str, rules: RecordSection, route: str, client_id: bytes) -> Call | None:
        """Return a call with its id; None where the log is off."""
        if not self._is_on or not rules.enabled:
            return None
        state = self._models.get(model) or self._create_state(model)
        began = time.monotonic()
        made = state.ids.make(int(1000 * (began + self._writer.clock_offset)))
        return Call(made, state, model, route, client_id, rules, began)

    def add(
        self,
        call: Call | None,
        label: Label,
        features: Sequence[bytes],
        predictions: Sequence[PredictionJson],
    ) -> None:
        """Add the answered rows of a call; a large answer is too large to store."""
        if call is None or not accept(call, len(features), now := time.monotonic()):
            return
        for row, (given, answer) in enumerate(zip(features, predictions, strict=True)):
            stored = answer if isinstance(answer, bytes) else None
            self._queue(call, now, label, row, given, answer=stored)

    def add_error(
        self, call: Call | None, label: Label, row: int, features: bytes, problem: ProblemError
    ) -> None:
        """Add the row for which a call has no answer, with the kind of error."""
        if call is None or not accept(call, 1, now := time.monotonic()):
            return
        self._queue(call, now, label, row, features, error=str(problem.extra.get("error") or problem.title))

    def _queue(
        self,
        call: Call,
        now: float,
        label: Label,
        row: int,
        features: bytes,
        *,
        answer: bytes | None = None,
        error: str | None = None,
    ) -> None:
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
                1000 * (now - call.began),
            )
        )

    def _create_state(self, model: str) -> ModelState:
        assert self._ids_key is not None
        state = ModelState(IdMaker(self._ids_key, model), RowRate(self._rows_per_second))
        return self._models.setdefault(model, state)

    def _count_written(self, rows: Sequence[PendingRow], is_written: bool) -> None:
        for row in rows:
            state = self._models[row.model]
            if is_written:
                state.recorded += 1
            else:
                state.dropped += 1


def accept(call: Call, rows: int, now: float) -> bool:
    """Decide once whether a call is recorded, and count its rows where it is not."""
    if call.rules.sample < 1 and not call.id.is_sampled(call.rules.sample):
        call.state.not_sampled += rows
        return False
    if not call.state.rate.take(rows, now):
        call.state.over_rate += rows
        return False
    return True
