"""The chart of one column's values on two sides: bins as steps, labels as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from common.figures import format_short
from ml.web.pages import plot
from ml.web.pages.plot import TOP, WIDTH, Tick

ROW_HEIGHT, LABEL_ROOM, SHARE_ROOM = 26, 118, 44
MAX_BARS = 7
OTHERS = "all others"
Share = Annotated[float, Field(ge=0, le=1)]
Edge = Annotated[float, Field(ge=-1.5e300, le=1.5e300)]
TITLES = {"numbers": "value", "lengths": "length: characters or elements"}


class StoredDistribution(BaseModel):
    """A distribution as the monitor stores it: see `ml.monitor.drift.distribution`."""

    of: Literal["numbers", "lengths", "labels"]
    edges: list[Edge] = Field(max_length=100)
    labels: list[str] = Field(max_length=100)
    before: list[Share]
    now: list[Share]
    other: tuple[Share, Share]
    unseen: Share
    values: tuple[int, int]

    @model_validator(mode="after")
    def check_lengths(self) -> Self:
        bars = len(self.edges) - 1 if self.edges else len(self.labels)
        if not bars == len(self.before) == len(self.now) or bars < 0:
            raise ValueError("there is not one share for each bin or label")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("the edges do not rise")
        return self


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
    of: str  # what of the values: numbers, lengths or labels
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
    """Return the chart of a stored distribution; None where there is none, or it is of another version."""
    try:
        found = StoredDistribution.model_validate(stored)
    except ValidationError:
        return None
    if found.edges:
        bars = list(map(Bar, name_bins(found.edges), found.before, found.now))
        steps = draw_steps(bars, found.edges, TITLES.get(found.of, "value"))
        return DistributionChart(found.of, bars, found.values, steps=steps)
    bars = list(map(Bar, found.labels, found.before, found.now))
    bars += [Bar(OTHERS, *found.other)] if any(found.other) else []
    bars += [Bar(unseen_name, 0.0, found.unseen)] if found.unseen else []
    return DistributionChart(found.of, bars, found.values, rows=draw_rows(bars)) if bars else None


def name_bins(edges: Sequence[float]) -> list[str]:
    names = [f"{format_short(low)} to {format_short(high)}" for low, high in pairwise(edges)]
    if len(names) > 1:
        names[0], names[-1] = f"below {format_short(edges[1])}", f"{format_short(edges[-2])} and more"
    return names


def draw_steps(bars: Sequence[Bar], edges: Sequence[float], title: str) -> StepChart:
    across = plot.across(edges[0], edges[-1])
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
