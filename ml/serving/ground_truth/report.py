"""The answer to a call of ground truth: counts, and the places of what was not stored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from common.problems import ProblemError
from ml.serving.ground_truth.items import ItemFault, join_place
from ml.serving.ground_truth.placement import ItemStatus, Placed

MAX_ERRORS = 100  # in the body of a 422 or 409
SHOWN_ERRORS = 5  # in its sentence
# what a client has to mend comes first
PROBLEM_ORDER = (ItemStatus.INVALID, ItemStatus.AMBIGUOUS, ItemStatus.UNKNOWN, ItemStatus.NOT_SAMPLED)


@dataclass
class Report:
    """The outcomes of all values of a call."""

    counts: Counter[ItemStatus] = field(default_factory=Counter)
    replaced: int = 0
    unchanged: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def to_document(self, max_problems: int) -> dict[str, Any]:
        order = [PROBLEM_ORDER.index(ItemStatus(problem["status"])) for problem in self.problems]
        ranked = sorted(zip(order, range(len(order)), strict=True))[:max_problems]
        return {
            **{status.value: self.counts[status] for status in ItemStatus},
            "replaced": self.replaced,
            "unchanged": self.unchanged,
            "problems": [self.problems[at] for _, at in ranked],
            "problems_left_out": len(self.problems) - len(ranked),
        }


def build_report(placed: Sequence[Placed], faults: Sequence[ItemFault]) -> Report:
    """Return the counts of all values, with those that were not stored as problems in their order."""
    report = Report(Counter(one.status for one in placed))
    report.counts[ItemStatus.INVALID] += len(faults)
    problems = [
        to_problem(fault.number, fault.place, None, ItemStatus.INVALID, fault.message) for fault in faults
    ]
    problems += [
        to_problem(
            one.item.number,
            join_place(one.item.place, one.field),
            one.item.prediction,
            one.status,
            one.reason,
        )
        for one in placed
        if one.status in PROBLEM_ORDER
    ]
    report.problems = sorted(problems, key=lambda problem: int(problem["item"]))
    return report


def to_problem(
    number: int, place: str, prediction: str | None, status: ItemStatus, reason: str
) -> dict[str, Any]:
    return {
        "item": number,
        "at": place,
        "prediction": prediction,
        "status": status.value,
        "reason": reason,
    }


def raise_problem(report: Report) -> None:
    """Raise `ProblemError` for values that no repetition would store: 422 where they are wrong, else 409."""
    for status, code, title in (
        (ItemStatus.INVALID, 422, "The request is not valid"),
        (ItemStatus.AMBIGUOUS, 409, "An id that several calls have"),
    ):
        errors = [
            {"at": problem["at"], "message": problem["reason"]}
            for problem in report.problems
            if problem["status"] == status
        ]
        if errors:
            shown = [f"{error['at']}: {error['message']}" for error in errors[:SHOWN_ERRORS]]
            more = [f"and {len(errors) - SHOWN_ERRORS} more"] if len(errors) > SHOWN_ERRORS else []
            detail = f"{'; '.join([*shown, *more])}. Nothing was stored."
            raise ProblemError(code, title, detail, errors=errors[:MAX_ERRORS])
