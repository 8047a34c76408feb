"""Gate: does the release deserve the place? Its metrics against the rules, and against what is live."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml.differences import Differences
from ml.errors import Rejected
from ml.manifest import Bar, Difference, Gate
from ml.stages.metric_names import Better, direction
from ml.stages.trend import Past, Trend, trend

PREDICTIONS = "predictions differ for"
DEFAULT = "10%"  # by how much a metric may worsen where the repository has no [gate]
SLACK = 1e-9  # of the larger of two numbers: closer than that, they are one


@dataclass(frozen=True)
class Judged:
    """One rule, as it was judged."""

    metric: str
    value: float
    live: float | None
    change: float | None  # (value - live) / |live|: 0.1 is ten percent more
    rule: str  # in words
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """What the gate says, with everything it said it by."""

    rules: tuple[Judged, ...]
    note: str | None
    compared_with: int | None  # the live release
    unjudged: tuple[str, ...] = ()  # what could not be compared with it, in words: a person has to look
    trends: tuple[Trend, ...] = ()

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def reason(self) -> str:
        """Why it did not pass: `SMAPE 0.300, live has 0.200 (may worsen by 5%)`."""
        return "; ".join(sentence(rule) for rule in self.rules if not rule.passed)

    def document(self) -> dict[str, Any]:
        """As it is kept with the release."""
        return asdict(self) | {"passed": self.passed}


def judge(
    metrics: Mapping[str, float],
    gate: Gate,
    *,
    live: Mapping[str, float] | None = None,
    compared_with: int | None = None,
    note: str | None = None,
    differences: Differences | str = "",
    past: Past = (),
) -> Verdict:
    """Judge finite `metrics` by the rules of `gate`, or by the default where it has none.

    `live` are the metrics of the release `compared_with`, on the same test data; None when nothing is live,
    or when they cannot be had (`note` says why). `differences` are those of the predictions, or in words why
    there are none. `past` are releases that were live lately.
    Raises `Rejected` when a rule cannot be judged at all: a metric is missing, or is no finite number.
    """
    for name, value in metrics.items():
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Rejected(f"{name} is {value}: a metric is a finite number")
    if not metrics:
        raise Rejected("evaluate() gave no metric: without a number nothing can be judged")
    bars: Mapping[str, Bar] = gate.metrics
    notes = [note] if note else []
    if not bars:
        bars = {
            name: Bar.model_validate({"may_worsen_by": DEFAULT})
            for name in metrics
            if direction(name) is not None
        }
        known = (
            f"{', '.join(bars)} may not worsen by more than {DEFAULT}"
            if bars
            else "no metric's direction is known"
        )
        notes.append(f"slipway.toml has no [gate]: {known}")
    missing = [name for name in bars if name not in metrics]
    if missing:
        raise Rejected(f"[gate] names {', '.join(missing)}, and evaluate() gave {', '.join(metrics)} alone")
    rules = [rule for name, bar in bars.items() for rule in judge_one(name, metrics[name], bar, live or {})]
    if gate.predictions is not None and isinstance(differences, Differences):
        rules.append(judge_predictions(differences, gate.predictions))
    elif gate.predictions is not None and isinstance(differences, str) and differences:
        notes.append(differences)
    unjudged = (
        () if compared_with is None else tuple(not_comparable(bars, live, compared_with, bool(gate.metrics)))
    )
    return Verdict(
        tuple(rules),
        "; ".join(notes) or None,
        compared_with if live is not None else None,
        unjudged,
        tuple(trends(bars, past)),
    )


def not_comparable(
    bars: Mapping[str, Bar], live: Mapping[str, float] | None, compared_with: int, has_gate: bool
) -> Iterable[str]:
    """What has to be held against what is live, and cannot be: that never passes by itself."""
    relative = [name for name, bar in bars.items() if bar.may_worsen_by is not None]
    if not bars and not has_gate:
        yield 'no metric says which way is better: write one under [gate] with better = "lower" or "higher"'
    elif live is None and relative:
        yield f"release {compared_with}, which is live, has no {', '.join(relative)} on this test data"
    elif missing := [name for name in relative if name not in (live or {})]:
        yield f"release {compared_with}, which is live, never gave {', '.join(missing)}"


def trends(bars: Mapping[str, Bar], past: Past) -> Iterable[Trend]:
    for name, bar in bars.items():
        better = bar.better or direction(name)
        if better is not None and (found := trend(name, better, past)) is not None:
            yield found


def told(verdict: Verdict, metrics: Mapping[str, float], live: Mapping[str, float]) -> Iterable[str]:
    """What it compared and what it says, in lines for a person."""
    if verdict.compared_with is not None:
        yield f"beside release {verdict.compared_with}, which is live"
    if verdict.note:
        yield verdict.note
    for name, value in metrics.items():
        before = live.get(name)
        change = relative(value, before)
        beside = "" if before is None else f", live has {number(before)}"
        yield f"{name} {number(value)}{beside}{'' if change is None else f' ({100 * change:+.1f}%)'}"
    for rule in verdict.rules:
        words = sentence(rule) if rule.metric.startswith(PREDICTIONS) else f"{rule.metric} {rule.rule}"
        yield f"rule: {words}: {'passed' if rule.passed else 'not passed'}"
    for lately in verdict.trends:
        yield over_releases(lately, metrics[lately.metric])
    for words in verdict.unjudged:
        yield f"not compared: {words}"


def judge_one(name: str, value: float, bar: Bar, live: Mapping[str, float]) -> Iterable[Judged]:
    """The rules of one metric."""
    before = live.get(name)
    change = relative(value, before)
    if bar.max is not None:
        yield Judged(name, value, before, change, f"at most {number(bar.max)}", not exceeds(value, bar.max))
    if bar.min is not None:
        yield Judged(name, value, before, change, f"at least {number(bar.min)}", not exceeds(bar.min, value))
    if bar.may_worsen_by is not None:
        better = bar.better or direction(name)
        if better is None:
            raise Rejected(
                f'[gate] {name}: may_worsen_by needs better = "lower" or better = "higher" beside it, '
                "since the name does not say which is better"
            )
        if before is not None:
            rule = f"may worsen by {100 * bar.may_worsen_by:.4g}%"
            passed = not worse(value, before, better, bar.may_worsen_by)
            yield Judged(name, value, before, change, rule, passed)


def judge_predictions(differences: Differences, allowed: Difference) -> Judged:
    rule = f"may differ by {100 * allowed.may_differ:.4g}%"
    passed = differences.share <= allowed.may_differ + 1e-12
    return Judged(f"{PREDICTIONS} {differences.said}", differences.share, None, None, rule, passed)


def worse(value: float, before: float, better: Better, by: float) -> bool:
    """Whether `value` is worse than `before` by more than the share `by` of it."""
    loss = value - before if better == "lower" else before - value
    return loss > abs(before) * by + SLACK * max(abs(value), abs(before))


def exceeds(value: float, bound: float) -> bool:
    return value > bound + SLACK * max(abs(value), abs(bound))


def relative(value: float, before: float | None) -> float | None:
    """The change as a share of what was before; None where there is none, or it was nothing."""
    return (value - before) / abs(before) if before else None


def sentence(rule: Judged) -> str:
    if rule.metric.startswith(PREDICTIONS):
        return f"{rule.metric} ({rule.rule})"
    if rule.rule.startswith("may worsen") and rule.live is not None:
        return f"{rule.metric} {number(rule.value)}, live has {number(rule.live)} ({rule.rule})"
    return f"{rule.metric} {number(rule.value)}, has to be {rule.rule}"


def over_releases(lately: Trend, value: float) -> str:
    """How far it went since the oldest of them, and the best of them."""
    change = relative(value, lately.first)
    return (
        f"{lately.metric} over the last {lately.releases} live releases: {number(lately.first)} "
        f"(release {lately.first_release}) to {number(value)}"
        f"{'' if change is None else f' ({100 * change:+.1f}%)'}; "
        f"the best was {number(lately.best)} (release {lately.best_release})"
    )


def number(value: float) -> str:
    """Three decimals, or as many digits as a small number needs."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.3g}"
