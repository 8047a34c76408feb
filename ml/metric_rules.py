"""What is worse by a rule of the gate: the rules of a manifest, or those by default."""

from collections.abc import Iterable, Mapping

from ml.manifest import Gate, MetricRule
from ml.metric_names import Direction, find_direction

DEFAULT_MAX_WORSENING = "10%"  # the most that a metric may worsen where the repository has no [gate]
RELATIVE_SLACK = 1e-9  # share of the larger of two numbers: closer than that, they are equal


def find_rules(gate: Gate, metrics: Iterable[str]) -> Mapping[str, MetricRule]:
    """Return the rule of each metric that is judged; by default that of those whose direction is known."""
    return gate.metrics or {
        name: MetricRule.model_validate({"may_worsen_by": DEFAULT_MAX_WORSENING})
        for name in metrics
        if find_direction(name) is not None
    }


def is_worse(value: float, before: float, better: Direction, by: float) -> bool:
    """Return True when `value` is worse than `before` by more than the share `by` of it."""
    loss = value - before if better == "lower" else before - value
    return loss > abs(before) * by + RELATIVE_SLACK * max(abs(value), abs(before))


def is_above(value: float, bound: float) -> bool:
    return value > bound + RELATIVE_SLACK * max(abs(value), abs(bound))
