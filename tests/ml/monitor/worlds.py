"""A world of eight features, as it was in training, and as it may change."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ml.monitor.drift.baseline import make_baseline
from ml.monitor.drift.calibration import CalibrationCache
from ml.monitor.drift.judge import DriftJudge
from ml.monitor.drift.windows import Row, Window, WindowName

Features = dict[str, Any]
PLANS = ["free", "basic", "team", "whole company"]


class Change(StrEnum):
    NONE = "nothing"
    SHIFT = "half a standard deviation"
    CATEGORY = "a category from 10 to 20 %"
    MISSING = "missing from 0 to 5 %"
    SCALE = "ten times the scale"


CHANGED = {Change.SHIFT: "age", Change.CATEGORY: "plan", Change.MISSING: "weight", Change.SCALE: "weight"}


@dataclass
class World:
    """Rows of one seed; each call of `rows` goes on with the same random numbers."""

    random: np.random.Generator
    change: Change = Change.NONE

    def rows(self, count: int) -> list[Features]:
        draw = self.random
        plans = (
            [0.2, 0.8 * 4 / 9, 0.8 * 3 / 9, 0.8 * 2 / 9]
            if self.change is Change.CATEGORY
            else [0.1, 0.4, 0.3, 0.2]
        )
        columns = {
            "age": draw.normal(0.5 if self.change is Change.SHIFT else 0.0, 1, count),
            "income": draw.lognormal(0, 1, count),
            "minute": draw.integers(0, 60, count),
            "spent": np.where(draw.random(count) < 0.7, 0.0, draw.exponential(5, count)),
            "plan": draw.choice(PLANS, count, p=plans),
            "paid": draw.random(count) < 0.5,
            "weight": draw.normal(50, 10, count) * (10 if self.change is Change.SCALE else 1),
            "visits": draw.zipf(2.0, count),
        }
        rows = [
            dict(zip(columns, row, strict=True))
            for row in zip(*(c.tolist() for c in columns.values()), strict=True)
        ]
        if self.change is Change.MISSING:
            for place in np.flatnonzero(draw.random(count) < 0.05):
                rows[place]["weight"] = None
        return rows


def predict(features: Features) -> float:
    return 2 * features["age"] + 0.1 * (features["weight"] or 50.0) + (features["plan"] == "free")


def make_judge(seed: int, rows: int = 10_000) -> tuple[DriftJudge, list[Features]]:
    """Return a judge with a baseline of its own, and the rows of that."""
    features = World(np.random.default_rng(seed)).rows(rows)
    baseline = make_baseline(features, [predict(row) for row in features])
    return DriftJudge(baseline, CalibrationCache(f"seed {seed}")), features


def make_window(features: list[Features], number: int = 0, rows_in_call: int = 1) -> Window:
    """Return the `number`th window: its rows are newer than those of the window before."""
    rows = [
        Row(f"{number} {place // rows_in_call}", number * 100_000.0 + place, one, predict(one))
        for place, one in enumerate(features)
    ]
    return Window(WindowName.NEWEST, tuple(rows), len(rows))
