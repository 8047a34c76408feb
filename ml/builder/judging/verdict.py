"""The gate's verdict: the metrics of a release judged by its rules, and compared with the live release."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from common.errors import RejectedError
from common.figures import format_change, format_metric, relative_change
from ml.builder.judging.trend import Past, Trend, compute_trend
from ml.builder.prediction_diff import PredictionDiff
from ml.manifest import Gate, MetricRule, PredictionRule
from ml.metric_names import find_direction
from ml.metric_rules import DEFAULT_MAX_WORSENING, find_rules, is_above, is_worse

PREDICTIONS_PREFIX = "predictions differ for"


@dataclass(frozen=True)
class RuleResult:
    """The result of one rule."""

    metric: str
    value: float
    live: float | None
    change: float | None  # (value - live) / |live|: 0.1 is ten percent more
    rule: str  # as a phrase
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate, with everything that it is based on."""

    rules: tuple[RuleResult, ...]
    note: str | None
    compared_with: int | None  # the wanted, else the live release
    unjudged: tuple[str, ...] = ()  # sentences on what could not be compared with it: a person has to decide
    trends: tuple[Trend, ...] = ()

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def reason(self) -> str:
        """The reason for a rejection: `SMAPE 0.300, release 7 has 0.200 (may worsen by 5%)`."""
        return "; ".join(format_failure(rule, self.compared_with) for rule in self.rules if not rule.passed)

    def to_document(self) -> dict[str, Any]:
        """Return the document that is stored with the release."""
        return asdict(self) | {"passed": self.passed}


def judge_release(
    metrics: Mapping[str, float],
    gate: Gate,
    *,
    live: Mapping[str, float] | None = None,
    compared_with: int | None = None,
    note: str | None = None,
    differences: PredictionDiff | str = "",
    past: Past = (),
) -> Verdict:
    """Judge finite `metrics` by the rules of `gate`, or by the default where it has none.

    `live` are the metrics of the release `compared_with`, on the same test data; None when nothing is live,
    or when they are unavailable (`note` gives the reason). `differences` are those of the predictions, or a
    sentence why there are none. `past` are recently live releases. Raises `RejectedError` when a rule cannot
    be judged at all: a metric is missing, or is no finite number.
    """
    for name, value in metrics.items():
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise RejectedError(f"{name} is {value}: a metric is a finite number")
    if not metrics:
        raise RejectedError("evaluate() gave no metric: without a number nothing can be judged")
    rules_by_metric = find_rules(gate, metrics)
    notes = [note] if note else []
    if not gate.metrics:
        default_rule = (
            f"{', '.join(rules_by_metric)} may not worsen by more than {DEFAULT_MAX_WORSENING}"
            if rules_by_metric
            else "no metric's direction is known"
        )
        notes.append(f"slipway.toml has no [gate]: {default_rule}")
    missing = [name for name in rules_by_metric if name not in metrics]
    if missing:
        raise RejectedError(
            f"[gate] names {', '.join(missing)}, and evaluate() gave {', '.join(metrics)} alone"
        )
    rules = [
        rule
        for name, metric_rule in rules_by_metric.items()
        for rule in judge_metric(name, metrics[name], metric_rule, live or {})
    ]
    if gate.predictions is not None and isinstance(differences, PredictionDiff):
        rules.append(judge_predictions(differences, gate.predictions))
    elif gate.predictions is not None and isinstance(differences, str) and differences:
        notes.append(differences)
    unjudged = (
        ()
        if compared_with is None
        else tuple(find_incomparable(rules_by_metric, live, compared_with, bool(gate.metrics)))
    )
    return Verdict(
        tuple(rules),
        "; ".join(notes) or None,
        compared_with if live is not None else None,
        unjudged,
        tuple(find_trends(rules_by_metric, past)),
    )


def find_incomparable(
    bars: Mapping[str, MetricRule], live: Mapping[str, float] | None, compared_with: int, has_gate: bool
) -> Iterable[str]:
    """Yield a sentence for each comparison with the live release that is required but impossible.

    A release with such a gap never passes automatically.
    """
    relative = [name for name, bar in bars.items() if bar.may_worsen_by is not None]
    other = f"release {compared_with}, which it is held against,"
    if not bars and not has_gate:
        yield 'no metric says which way is better: write one under [gate] with better = "lower" or "higher"'
    elif live is None and relative:
        yield f"{other} has no {', '.join(relative)} on this test data"
    elif missing := [name for name in relative if name not in (live or {})]:
        yield f"{other} never gave {', '.join(missing)}"


def find_trends(bars: Mapping[str, MetricRule], past: Past) -> Iterable[Trend]:
    for name, bar in bars.items():
        better = bar.better or find_direction(name)
        if better is not None and (found := compute_trend(name, better, past)) is not None:
            yield found


def explain_verdict(
    verdict: Verdict, metrics: Mapping[str, float], live: Mapping[str, float]
) -> Iterable[str]:
    """Yield the comparison and its result as lines for the log."""
    if verdict.compared_with is not None:
        yield f"compared with release {verdict.compared_with}"
    if verdict.note:
        yield verdict.note
    for name, value in metrics.items():
        before = live.get(name)
        change = relative_change(value, before)
        against = "" if before is None else f", release {verdict.compared_with} has {format_metric(before)}"
        by = "" if change is None else f" ({format_change(change)})"
        yield f"{name} {format_metric(value)}{against}{by}"
    for rule in verdict.rules:
        text = (
            format_failure(rule, None)
            if rule.metric.startswith(PREDICTIONS_PREFIX)
            else f"{rule.metric} {rule.rule}"
        )
        yield f"rule: {text}: {'passed' if rule.passed else 'not passed'}"
    for trend in verdict.trends:
        yield format_trend(trend, metrics[trend.metric])
    for text in verdict.unjudged:
        yield f"not compared: {text}"


def judge_metric(name: str, value: float, bar: MetricRule, live: Mapping[str, float]) -> Iterable[RuleResult]:
    """Yield the result of each rule of one metric."""
    before = live.get(name)
    change = relative_change(value, before)
    if bar.max is not None:
        yield RuleResult(
            name, value, before, change, f"at most {format_metric(bar.max)}", not is_above(value, bar.max)
        )
    if bar.min is not None:
        yield RuleResult(
            name, value, before, change, f"at least {format_metric(bar.min)}", not is_above(bar.min, value)
        )
    if bar.may_worsen_by is not None:
        better = bar.better or find_direction(name)
        if better is None:
            raise RejectedError(
                f'[gate] {name}: may_worsen_by needs better = "lower" or better = "higher" beside it, '
                "since the name does not say which is better"
            )
        if before is not None:
            rule = f"may worsen by {100 * bar.may_worsen_by:.4g}%"
            passed = not is_worse(value, before, better, bar.may_worsen_by)
            yield RuleResult(name, value, before, change, rule, passed)


def judge_predictions(differences: PredictionDiff, allowed: PredictionRule) -> RuleResult:
    same = f"numbers within {100 * allowed.tolerance:.4g}% are the same"
    rule = f"may differ by {100 * allowed.may_differ:.4g}%; {same}"
    passed = differences.share <= allowed.may_differ + 1e-12
    return RuleResult(
        f"{PREDICTIONS_PREFIX} {differences.summary}", differences.share, None, None, rule, passed
    )


def format_failure(rule: RuleResult, compared_with: int | None) -> str:
    if rule.metric.startswith(PREDICTIONS_PREFIX):
        return f"{rule.metric} ({rule.rule})"
    if rule.rule.startswith("may worsen") and rule.live is not None:
        before = f"release {compared_with} has {format_metric(rule.live)}"
        return f"{rule.metric} {format_metric(rule.value)}, {before} ({rule.rule})"
    return f"{rule.metric} {format_metric(rule.value)}, has to be {rule.rule}"


def format_trend(lately: Trend, value: float) -> str:
    """Return a line on the change since the oldest release of a trend, and on the best one."""
    change = relative_change(value, lately.first)
    return (
        f"{lately.metric} over the last {lately.releases} live releases: {format_metric(lately.first)} "
        f"(release {lately.first_release}) to {format_metric(value)}"
        f"{'' if change is None else f' ({format_change(change)})'}; "
        f"the best was {format_metric(lately.best)} (release {lately.best_release})"
    )
