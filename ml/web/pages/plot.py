"""The geometry of charts that the server draws: scales, ticks, and times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.figures import format_short

WIDTH, HEIGHT = 320, 180
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 14, 36  # the room around what is drawn, for ticks and titles
MAX_TICKS = 5


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A linear scale from values to places."""

    low: float
    high: float
    begin: float
    end: float

    def place(self, value: float) -> float:
        """Return the place of a value; what lies outside is at the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)


def across(low: float, high: float) -> Scale:
    return Scale(low, high, LEFT, WIDTH - RIGHT)


def upward(low: float, high: float, height: float = HEIGHT) -> Scale:
    return Scale(low, high, height - BOTTOM, TOP)


def choose_range(values: Sequence[float], *, zero: bool = False) -> tuple[float, float]:
    """Return the ends of an axis that has some room around these finite values."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - room, high + room
    if zero:
        low = min(0.0, low + room)
    return (low, high) if low < high else (low - 1, high + 1)


def choose_ticks(scale: Scale, percent: bool = False) -> list[Tick]:
    """Return at most `MAX_TICKS` round values on a scale; shares are in percent."""
    step = find_step((scale.high - scale.low) / (MAX_TICKS - 1))
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    values = [float(f"{number * step:.12g}") for number in range(first, min(last, first + MAX_TICKS) + 1)]
    return [
        Tick(scale.place(value), f"{100 * value:.3g} %" if percent else format_short(value))
        for value in values
    ]


def find_step(least: float) -> float:
    """Return the smallest round number that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= least * (1 - 1e-9))


def choose_times(start: datetime, end: datetime, scale: Scale) -> list[Tick]:
    """Return round times of a period, in UTC: hours of a day, days of a month."""
    length = end - start
    step = next(
        (step for step in TIME_STEPS if length / step <= MAX_TICKS),
        timedelta(days=math.ceil(length.days / 4)),
    )
    form = "%H:%M" if length <= timedelta(days=1) else "%b %-d"
    first = math.ceil(start.timestamp() / step.total_seconds())
    found = []
    while (at := datetime.fromtimestamp(first * step.total_seconds(), UTC)) <= end:
        found.append(Tick(scale.place(at.timestamp()), format(at, form)))
        first += 1
    return found


TIME_STEPS = [timedelta(minutes=minutes) for minutes in (15, 60, 360, 1440, 7 * 1440)]
