"""The store of ground truth: the values of one call are stored in one transaction, or none of them."""

from collections.abc import Sequence

from sqlalchemy.orm import Session, sessionmaker

from db import ground_truth, request_partitions
from db.request_log import read_id_time
from ml.record_section import RecordSection
from ml.serving.ground_truth.csv_items import parse_csv
from ml.serving.ground_truth.items import ItemError, parse_json
from ml.serving.ground_truth.placement import ItemStatus, LogRules, Placed, place_items
from ml.serving.ground_truth.report import Report, build_report, raise_problem
from ml.serving.ground_truth.values import encode_value, fit_value
from ml.serving.request_log.fields import apply_rules
from ml.serving.request_log.log import RequestLog

STORED = (ItemStatus.STORED, ItemStatus.EARLY)


class GroundTruthStore:
    """Stores the values of calls; blocking."""

    def __init__(self, sessions: sessionmaker[Session], log: RequestLog) -> None:
        self._sessions, self._log = sessions, log

    def store(
        self,
        model: str,
        body: bytes,
        record: RecordSection,
        kind: str | None,
        *,
        is_csv: bool = False,
        skip_invalid: bool = False,
    ) -> Report:
        """Store a body's values; `kind` and the rules `record` are those of the live release.

        Raises `ProblemError` where the body is no list of values; for a single wrong value as well, unless
        `skip_invalid` leaves it out.
        """
        parsed = parse_csv(body) if is_csv else parse_json(body)
        rules = LogRules(record.sample if self._log.is_on and record.enabled else 0.0, kind)
        with self._sessions.begin() as session:
            ground_truth.prepare(session, model)
            placed = place_items(session, self._log, model, rules, parsed.items)
            values = [self._fit(model, record, one) for one in placed]
            mark_duplicates(placed)
            report = build_report(placed, parsed.faults)
            if not skip_invalid:
                raise_problem(report)
            self._save(session, model, placed, values, report)
        return report

    def _fit(self, model: str, record: RecordSection, one: Placed) -> str:
        """Return what is stored of a value, as JSON; one that does not fit is marked as invalid."""
        if one.status not in (*STORED, ItemStatus.NOT_SAMPLED):
            return ""
        try:
            value = fit_value(one.item.value, one.kind, one.label_type)
        except ItemError as error:
            one.status, one.field, one.reason = ItemStatus.INVALID, error.place, error.message
            return ""
        hidden = record.hidden_fields
        return encode_value(apply_rules(value, hidden, self._log.fields_key, model) if hidden else value)

    @staticmethod
    def _save(
        session: Session, model: str, placed: Sequence[Placed], values: Sequence[str], report: Report
    ) -> None:
        rows = [
            to_row(model, one, value)
            for one, value in zip(placed, values, strict=True)
            if one.status in STORED
        ]
        if report.counts[ItemStatus.EARLY]:
            request_partitions.create_missing(session)
        changed = ground_truth.store_batch(session, rows)
        report.replaced = sum(changed.values())
        report.unchanged = len(rows) - len(changed)


def mark_duplicates(placed: Sequence[Placed]) -> None:
    """Mark the values that a later one of the same call and row replaces: the last one counts."""
    seen = set()
    for one in reversed(placed):
        if one.status in STORED:
            if (one.call, one.row) in seen:
                one.status = ItemStatus.DUPLICATE
            seen.add((one.call, one.row))


def to_row(model: str, one: Placed, value: str) -> dict[str, object]:
    assert one.call is not None
    return {
        "id": str(one.call),
        "row": one.row,
        "at": read_id_time(one.call),
        "model": model,
        "value": value,
        "source": one.item.source,
        "observed_at": one.item.observed_at,
        "is_early": one.status is ItemStatus.EARLY,
    }
