"""Where each value of a call goes: to a recorded row, to one that is not there yet, or nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy.orm import Session

from db import ground_truth, request_partitions
from db.ground_truth import EARLY_TIME, FoundRow
from db.request_log import read_id_time
from db.session import read_time
from ml.serving.ground_truth.items import Item
from ml.serving.request_body import VALID_ID
from ml.serving.request_log.ids import CallId
from ml.serving.request_log.log import RequestLog

WRITE_TIME = timedelta(minutes=1)  # in which the rows of a call that is being recorded are there


class ItemStatus(StrEnum):
    """The outcome of one value of a call."""

    STORED = "stored"
    EARLY = "early"
    NOT_SAMPLED = "not_sampled"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    INVALID = "invalid"
    DUPLICATE = "duplicate"


@dataclass(slots=True)
class Placed:
    """A value with the row that it is for; what is not stored has a reason."""

    item: Item
    status: ItemStatus
    reason: str = ""
    field: str = ""  # of the item, that is at fault
    call: UUID | None = None
    row: int = 0
    kind: str | None = None  # of the release that answered
    label_type: str | None = None


@dataclass(frozen=True)
class LogRules:
    """The rules by which a model is recorded now, and the kind of its live release."""

    share: float  # of the calls; 0 where the log is off
    kind: str | None


def place_items(
    session: Session, log: RequestLog, model: str, rules: LogRules, items: Sequence[Item]
) -> list[Placed]:
    """Return where each value goes, in their order; a forged id is looked for as a client's own at most."""
    made = [log.find_id(model, item.prediction) for item in items]
    texts = {item.prediction for item, id_ in zip(items, made, strict=True) if id_ is None}
    named = ground_truth.find_calls(session, model, [text for text in texts if VALID_ID(text.encode())])
    placed, calls = [], []
    for item, id_ in zip(items, made, strict=True):
        call, is_ambiguous = (id_.uuid, False) if id_ else named.get(item.prediction, (None, False))
        if is_ambiguous:
            reason = "several calls have this id: name one by its X-Slipway-Prediction"
            placed.append(Placed(item, ItemStatus.AMBIGUOUS, reason, "prediction"))
        elif call is None:
            reason = "neither an id of this model's predictions nor a client's own"
            placed.append(Placed(item, ItemStatus.UNKNOWN, reason))
        else:
            calls.append((call, item.row))
            placed.append(Placed(item, ItemStatus.STORED, call=call))
    found = iter(ground_truth.find_rows(session, calls))
    placer = Placer(session, rules)
    for one, id_ in zip(placed, made, strict=True):
        if one.call is not None:
            placer.place(one, one.call, id_, next(found))
    return placed


class Placer:
    """Decides for one value after the other, at one time of Postgres's clock."""

    def __init__(self, session: Session, rules: LogRules) -> None:
        self._rules = rules
        self._now: datetime = read_time(session)
        self._days: set[date] = {one.day for one in request_partitions.list_partitions(session)}

    def place(self, one: Placed, call: UUID, id_: CallId | None, found: FoundRow) -> None:
        """Decide by what was found of a row; without `id_` it was found by the client's id."""
        at = read_id_time(call)
        if found.row is not None:
            if found.rows > 1 and one.item.row is None:
                one.status, one.field = ItemStatus.INVALID, "row"
                one.reason = "is missing: the call has several rows"
            one.row, one.kind, one.label_type = found.row, found.kind, found.label_type
            return
        one.row, one.kind = one.item.row or 0, self._rules.kind
        if id_ is None or (found.rows and self._now - at > WRITE_TIME):
            one.status, one.reason = ItemStatus.UNKNOWN, f"the call has no row {one.row}"
        elif (reason := self.explain_missing(id_, at)) is None:
            one.status = ItemStatus.EARLY
        else:
            one.status, one.reason = ItemStatus.NOT_SAMPLED, reason

    def explain_missing(self, id_: CallId, at: datetime) -> str | None:
        """Return why a call of ours is not in the log; None where its rows may come."""
        is_recent = self._now - at < EARLY_TIME
        if not is_recent and at.date() not in self._days:
            return "its day was dropped from the request log"
        if not id_.is_sampled(self._rules.share):
            return "the call is not among those that are recorded"
        return None if is_recent else "the call was not recorded, or it was erased"
