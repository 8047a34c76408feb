"""When the quality of a release is decay: worse than its gate's rule with the whole interval of a metric."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from common.figures import format_metric
from ml.manifest import Gate, MetricRule
from ml.metric_names import OWN_PREFIX, Direction, find_direction
from ml.metric_rules import find_rules, is_above, is_worse
from ml.monitor.quality_names import Definition, are_same, find_definitions

MIN_COVERAGE = 0.01  # of the answered rows; fewer with ground truth may be a special choice

Measured = Mapping[str, Mapping[str, Any]]  # a metric's name → its value, low and high


class QualityStatus(StrEnum):
    """The judgement of a window."""

    TOO_FEW = "too few"
    SAME = "same"
    DECAY = "decay"


@dataclass(frozen=True)
class GateRules:
    """The rules that a release was judged by, and its metrics then."""

    release: int
    gate: Gate | None  # None: they cannot be read
    metrics: Mapping[str, float]

    @property
    def of_metrics(self) -> Mapping[str, MetricRule]:
        return {} if self.gate is None else find_rules(self.gate, self.metrics)


@dataclass(frozen=True)
class Breach:
    """A metric whose whole interval is worse than a rule allows."""

    metric: str
    low: float
    high: float
    value: float
    rule: str  # as a phrase


def judge_window(rules: GateRules, measured: Measured, rows: int, recorded: int) -> tuple[QualityStatus, str]:
    """Return the judgement of a window of `rows` with ground truth among `recorded` ones, and why."""
    coverage = rows / recorded if recorded else 0.0
    if coverage < MIN_COVERAGE:
        share = f"{coverage:.2%} of the answered rows have ground truth"
        return QualityStatus.TOO_FEW, f"{share}, and {MIN_COVERAGE:.0%} are needed"
    of_rows = f"on {rows:,} rows with ground truth, {coverage:.1%} of those recorded"
    breaches = [*find_breaches(rules, measured)]
    if breaches:
        return QualityStatus.DECAY, f"{'; '.join(map(explain, breaches))}; {of_rows}"
    if rules.gate is None:
        return QualityStatus.SAME, "the rules of its gate are not on this machine: nothing is judged"
    if not any(judged_definitions(rules, measured, name) for name in rules.of_metrics):
        return QualityStatus.SAME, "no metric of the gate is one that Slipway measures: nothing is judged"
    return QualityStatus.SAME, ""


def find_breaches(rules: GateRules, measured: Measured) -> Iterable[Breach]:
    """Yield the first broken rule of each metric that the gate judges."""
    for name, rule in rules.of_metrics.items():
        found = [
            find_breach(name, rule, rules, convert(definition, measured[definition.name]))
            for definition in judged_definitions(rules, measured, name)
        ]
        if found and all(found):  # whichever of them is meant
            yield min((one for one in found if one), key=lambda one: abs(one.value))


def judged_definitions(rules: GateRules, measured: Measured, name: str) -> list[Definition]:
    """Return the definitions of a metric that were measured with an interval.

    Where the repository's own code was run on these rows, those alone that give what it gave.
    """
    rule = rules.of_metrics[name]
    sizes = (rules.metrics.get(name), rule.max, rule.min)
    size = next((one for one in sizes if one is not None), None)
    definitions = [
        one for one in find_definitions(name, size) if measured.get(one.name, {}).get("low") is not None
    ]
    own = measured.get(OWN_PREFIX + name, {}).get("value")
    if own is None:
        return definitions
    return [one for one in definitions if are_same(one.convert(measured[one.name]["value"]), own)]


def convert(definition: Definition, metric: Mapping[str, Any]) -> tuple[float, float, float]:
    low, value, high = (definition.convert(metric[part]) for part in ("low", "value", "high"))
    return low, value, high


def find_breach(
    name: str, rule: MetricRule, rules: GateRules, interval: tuple[float, float, float]
) -> Breach | None:
    low, value, high = interval
    better: Direction | None = rule.better or find_direction(name)
    before = rules.metrics.get(name)
    best = low if better == "lower" else high
    if rule.max is not None and is_above(low, rule.max):
        return Breach(name, low, high, value, f"has to be at most {format_metric(rule.max)}")
    if rule.min is not None and is_above(rule.min, high):
        return Breach(name, low, high, value, f"has to be at least {format_metric(rule.min)}")
    if rule.may_worsen_by is None or better is None or before is None:
        return None
    if not is_worse(best, before, better, rule.may_worsen_by):
        return None
    at_gate = f"release {rules.release} had {format_metric(before)} at its gate"
    return Breach(name, low, high, value, f"{at_gate} (may worsen by {100 * rule.may_worsen_by:.4g}%)")


def explain(breach: Breach) -> str:
    interval = f"{format_metric(breach.low)} to {format_metric(breach.high)}"
    return f"{breach.metric} {format_metric(breach.value)} ({interval}), {breach.rule}"
