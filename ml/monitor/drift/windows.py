"""Windows: equal-probability draws of recorded rows, with few from one call; standard library only."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

NEWEST_ROWS = 1_000  # the N of the window of the newest N rows
DAY_ROWS = 5_000  # drawn from those of the newest day
DAY_SECONDS = 86_400
MAX_CALL_SHARE = 0.05  # of a window's rows from one call
MIN_CALLS = round(1 / MAX_CALL_SHARE)


class WindowName(StrEnum):
    NEWEST = "newest"
    DAY = "day"


@dataclass(frozen=True)
class Row:
    """One recorded row; `at` is in seconds since 1970, `call` is the id of the request that it came with."""

    call: str
    at: float
    features: Any
    prediction: Any = None
    window: WindowName | None = None  # that it was drawn for; None: any
    has_prediction: bool = True  # else another release answered it: only its features are compared


@dataclass(frozen=True)
class Window:
    """Rows to compare, and from how many of the recorded ones they were drawn; no rows: too few calls."""

    name: WindowName
    rows: tuple[Row, ...]
    recorded: int

    @property
    def oldest(self) -> float:
        return min((row.at for row in self.rows), default=0.0)

    @property
    def newest(self) -> float:
        return max((row.at for row in self.rows), default=0.0)


def draw_newest(rows: Sequence[Row], seed: int, size: int = NEWEST_ROWS) -> Window:
    """Return the newest `size` rows, where each call counts with at most its share of them."""
    draw = random.Random(seed)  # noqa: S311 (a draw, no secret)
    capped = cap_calls(rows, max(1, int(size * MAX_CALL_SHARE)), draw)
    newest = sorted(capped, key=lambda row: row.at, reverse=True)[:size]
    return Window(WindowName.NEWEST, level_calls(newest, draw), len(rows))


def draw_day(rows: Sequence[Row], seed: int, now: float, size: int = DAY_ROWS) -> Window:
    """Return a draw of `size` rows of the day before `now`; each has the same probability but for the cap."""
    draw = random.Random(seed)  # noqa: S311 (the same)
    recent = [row for row in rows if now - DAY_SECONDS < row.at <= now]
    capped = cap_calls(recent, max(1, int(size * MAX_CALL_SHARE)), draw)
    chosen = draw.sample(capped, min(size, len(capped)))
    return Window(WindowName.DAY, level_calls(chosen, draw), len(recent))


def cap_calls(rows: Iterable[Row], most: int, draw: random.Random) -> list[Row]:
    """Return at most `most` rows of each call, a draw of its rows."""
    by_call: dict[str, list[Row]] = {}
    for row in rows:
        by_call.setdefault(row.call, []).append(row)
    return [row for call in by_call.values() for row in draw.sample(call, min(most, len(call)))]


def level_calls(rows: Sequence[Row], draw: random.Random) -> tuple[Row, ...]:
    """Return as many rows as there can be with at most `MAX_CALL_SHARE` of them from one call."""
    counts = Counter(row.call for row in rows).values()
    caps = range(1, max(counts, default=0) + 1)
    fitting = [cap for cap in caps if cap <= MAX_CALL_SHARE * sum(min(count, cap) for count in counts)]
    return tuple(cap_calls(rows, fitting[-1], draw)) if fitting else ()
