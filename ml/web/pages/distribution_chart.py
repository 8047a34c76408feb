"""The chart of one column's values on two sides: bins as steps, labels as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from common.figures import format_short
from ml.web.pages import plot
from ml.web.pages.plot import TOP, WIDTH, Tick

ROW_HEIGHT, LABEL_ROOM, SHARE_ROOM = 26, 118, 44
MAX_BARS = 7
OTHERS = "all others"
MAX_EDGE = 1e300  # of either sign
TITLES = {"numbers": "value", "lengths": "length: characters or elements"}


@dataclass(frozen=True)
class Bar:
    """One bin or label, with the shares of the values on both sides."""

    name: str
    before: float
    now: float


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class StepChart:
    """Bins: the baseline as filled boxes, the window as a line of steps."""

    boxes: list[Box]
    line: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    title: str
    height: int = plot.HEIGHT


@dataclass(frozen=True)
class BarRow:
    bar: Bar
    y: float
    before: float  # the width of its bar
    now: float


@dataclass(frozen=True)
class BarChart:
    """Labels: a row each, with a bar for either side."""

    rows: list[BarRow]
    height: int


@dataclass(frozen=True)
class DistributionChart:
    bars: list[Bar]  # all of them, for the table
    values: tuple[int, int]
    steps: StepChart | None = None
    rows: BarChart | None = None

    @property
    def description(self) -> str:
        """Return what the chart shows, for those who do not see it."""
        most = max(self.bars, key=lambda bar: abs(bar.now - bar.before))
        return f"the largest change is at {most.name}: from {most.before:.1%} to {most.now:.1%} of the values"


def build_distribution(stored: Any, unseen_name: str) -> DistributionChart | None:
    """Return the chart of a stored distribution; None where there is none, or it cannot be drawn."""
    if not isinstance(stored, Mapping):
        return None
    before, now = read_shares(stored.get("before")), read_shares(stored.get("now"))
    edges, labels = stored.get("edges") or (), stored.get("labels") or ()
    values = tuple(stored.get("values") or (0, 0))
    if len(before) != len(now) or len(values) != 2:
        return None
    if edges and len(edges) == len(before) + 1:
        bounds = [min(max(float(edge), -MAX_EDGE), MAX_EDGE) for edge in edges]
        bars = list(map(Bar, name_bins(bounds), before, now))
        return DistributionChart(
            bars, values, steps=draw_steps(bars, bounds, TITLES.get(stored.get("of", ""), "value"))
        )
    if len(labels) != len(before):
        return None
    bars = [Bar(str(label), *shares) for label, *shares in zip(labels, before, now, strict=True)]
    other = read_shares(stored.get("other")) or [0.0, 0.0]
    bars += [Bar(OTHERS, *other[:2])] if any(other) else []
    unseen = read_shares([stored.get("unseen") or 0])[0]
    bars += [Bar(unseen_name, 0.0, unseen)] if unseen else []
    return DistributionChart(bars, values, rows=draw_rows(bars)) if bars else None


def read_shares(values: Any) -> list[float]:
    return [min(max(float(value), 0.0), 1.0) for value in values or ()]


def name_bins(edges: Sequence[float]) -> list[str]:
    names = [f"{format_short(low)} to {format_short(high)}" for low, high in pairwise(edges)]
    if len(names) > 1:
        names[0], names[-1] = f"below {format_short(edges[1])}", f"{format_short(edges[-2])} and more"
    return names


def draw_steps(bars: Sequence[Bar], edges: Sequence[float], title: str) -> StepChart:
    across = (
        plot.across(edges[0], edges[-1]) if edges[0] < edges[-1] else plot.across(edges[0] - 1, edges[0] + 1)
    )
    highest = max(max(bar.before, bar.now) for bar in bars) or 1.0
    upward = plot.upward(0.0, highest * 1.08)
    floor = upward.place(0.0)
    boxes, points = [], [f"{across.place(edges[0])},{floor}"]
    for bar, (low, high) in zip(bars, pairwise(edges), strict=True):
        left, right, top = across.place(low), across.place(high), upward.place(bar.before)
        boxes.append(Box(left, top, max(0.5, round(right - left - 1, 1)), round(floor - top, 1)))
        points += [f"{x},{upward.place(bar.now)}" for x in (left, right)]
    points.append(f"{across.place(edges[-1])},{floor}")
    return StepChart(
        boxes,
        " ".join(points),
        plot.choose_ticks(across),
        plot.choose_ticks(upward, percent=True),
        title,
    )


def draw_rows(bars: Sequence[Bar]) -> BarChart:
    """Return a row for each of the bars that are largest; the rest is one."""
    if len(bars) > MAX_BARS:
        named = [bar for bar in bars if bar.name != OTHERS]
        largest = sorted(named, key=lambda bar: -max(bar.before, bar.now))[: MAX_BARS - 1]
        rest = [bar for bar in bars if bar not in largest]
        both = sum(bar.before for bar in rest), sum(bar.now for bar in rest)
        bars = [*(bar for bar in bars if bar in largest), Bar(OTHERS, *both)]
    highest = max(max(bar.before, bar.now) for bar in bars) or 1.0
    room = (WIDTH - LABEL_ROOM - SHARE_ROOM) / highest
    return BarChart(
        [
            BarRow(bar, TOP + ROW_HEIGHT * place, round(bar.before * room, 1), round(bar.now * room, 1))
            for place, bar in enumerate(bars)
        ],
        TOP + ROW_HEIGHT * len(bars),
    )
