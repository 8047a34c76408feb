"""Charts of what the monitor measured over time: points with intervals, deployments as marks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ml.web.pages import plot
from ml.web.pages.plot import HEIGHT, Scale, Tick

MIN_MARK_GAP = 26  # between two numbers of releases


@dataclass(frozen=True)
class TimeFrame:
    """The period that charts over time share, and when which release went live in it."""

    start: datetime
    end: datetime
    deployments: Sequence[tuple[int, datetime]] = ()


@dataclass(frozen=True)
class Measurement:
    """A value at a time, with its interval where it has one."""

    at: datetime
    value: float
    low: float | None
    high: float | None
    state: str  # live, earlier or bad
    title: str  # what a pointer on it shows
    release: int


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    low: float | None  # places of the interval's ends
    high: float | None
    state: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A release that went live; no number where there is no room for it."""

    x: float
    release: int
    is_named: bool


@dataclass(frozen=True)
class Level:
    """A value to compare with, as a line across."""

    y: float
    label: str


@dataclass(frozen=True)
class TimeChart:
    dots: list[Dot]
    lines: list[str]  # one for each release
    marks: list[Mark]
    level: Level | None
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    height: int = HEIGHT


def draw_time(
    measured: Sequence[Measurement],
    frame: TimeFrame,
    level: tuple[float, str] | None = None,
    *,
    zero: bool = False,
) -> TimeChart | None:
    """Return the chart of a period; None where nothing was measured in it."""
    if not measured:
        return None
    across = plot.across(frame.start.timestamp(), frame.end.timestamp())
    values = [
        value
        for one in measured
        for value in (one.value, one.low, one.high, level[0] if level else None)
        if value is not None
    ]
    upward = plot.upward(*plot.choose_range(values, zero=zero))
    return TimeChart(
        [draw_dot(one, across, upward) for one in measured],
        draw_lines(measured, across, upward),
        draw_marks(frame.deployments, across),
        Level(upward.place(level[0]), level[1]) if level else None,
        plot.choose_times(frame.start, frame.end, across),
        plot.choose_ticks(upward),
    )


def draw_dot(one: Measurement, across: Scale, upward: Scale) -> Dot:
    low, high = (None if end is None else upward.place(end) for end in (one.low, one.high))
    return Dot(across.place(one.at.timestamp()), upward.place(one.value), low, high, one.state, one.title)


def draw_lines(measured: Sequence[Measurement], across: Scale, upward: Scale) -> list[str]:
    points: dict[int, list[str]] = {}
    for one in measured:
        place = f"{across.place(one.at.timestamp())},{upward.place(one.value)}"
        points.setdefault(one.release, []).append(place)
    return [" ".join(of_release) for of_release in points.values() if len(of_release) > 1]


def draw_marks(deployments: Iterable[tuple[int, datetime]], across: Scale) -> list[Mark]:
    """Return the marks of what went live in the period, newest first."""
    found: list[Mark] = []
    named = math.inf
    for release, live_at in sorted(deployments, key=lambda one: one[1], reverse=True):
        if not across.low <= live_at.timestamp() <= across.high:
            continue
        x = across.place(live_at.timestamp())
        has_room = named - x >= MIN_MARK_GAP
        found.append(Mark(x, release, has_room))
        named = x if has_room else named
    return found
