"""Thresholds: how far draws of the baseline itself lie from it, at the effective number of rows."""

import hashlib
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.system.durable import move_into_place
from common.system.plain_file import read_start
from ml.monitor.drift.distances import LabelReference, NumberReference
from ml.monitor.drift.effective import Floats

DRAWS = 1_000
TAIL_SHARE = 0.1  # of the draws; beyond the rest, probabilities fall as those of an exponential
BODY = tuple(step / 20 for step in range(19))  # quantiles up to where the tail begins
GRID_STEP = 1.05  # numbers of rows are rounded down to powers of it, so that thresholds can be used again
MAX_CACHE_BYTES = 8 << 20
CACHE_VERSION = 1


@dataclass(frozen=True)
class NullDistribution:
    """What a distance is where nothing has changed: quantiles, and how its tail falls."""

    quantiles: tuple[float, ...]  # at `BODY`
    tail_scale: float

    @classmethod
    def from_draws(cls, draws: Floats) -> "NullDistribution":
        quantiles = np.quantile(draws, BODY)
        tail = draws[draws > quantiles[-1]] - quantiles[-1]
        return cls(tuple(map(float, quantiles)), float(tail.mean()) if len(tail) else 0.0)

    def probability(self, distance: float) -> float:
        """Return how probable a distance as large as this one is."""
        start = self.quantiles[-1]
        if distance <= start:
            return 1 - float(np.interp(distance, self.quantiles, BODY, left=0.0))
        if not self.tail_scale:
            return 1 / (DRAWS + 1)
        return TAIL_SHARE * math.exp(-(distance - start) / self.tail_scale)

    def distance(self, probability: float) -> float:
        """Return the distance that is exceeded with this probability, of the tail's or less."""
        return self.quantiles[-1] + self.tail_scale * math.log(TAIL_SHARE / probability)


def round_rows(rows: float) -> int:
    """Return a number of rows on the grid, not above `rows`."""
    return int(GRID_STEP ** math.floor(math.log(rows, GRID_STEP) + 1e-9))


def calibrate(
    reference: NumberReference | LabelReference, rows: int, seed: str
) -> tuple[NullDistribution, NullDistribution]:
    """Return the null distributions of both distances of a column, the same for the same seed."""
    random = np.random.default_rng(
        int.from_bytes(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()[:8])
    )
    first, second = reference.resample(rows, DRAWS, random)
    return NullDistribution.from_draws(first), NullDistribution.from_draws(second)


@dataclass
class CalibrationCache:
    """The null distributions of one baseline, in a file where there is one; a damaged file counts as none."""

    digest: str
    path: Path | None = None
    _found: dict[str, tuple[NullDistribution, NullDistribution]] = field(default_factory=dict)
    _is_new: bool = False

    def __post_init__(self) -> None:
        content = read_start(self.path, MAX_CACHE_BYTES + 1) if self.path else None
        if content and len(content) <= MAX_CACHE_BYTES:
            self._found = parse_cache(content, self.digest)

    def get(
        self, key: str, reference: NumberReference | LabelReference, rows: int
    ) -> tuple[NullDistribution, NullDistribution]:
        """Return the null distributions of a column at this number of rows."""
        name = f"{key} {rows}"
        if name not in self._found:
            self._found[name] = calibrate(reference, rows, f"{self.digest} {name}")
            self._is_new = True
        return self._found[name]

    def save(self) -> None:
        """Write what is new to the file; raises `OSError`. A cache that outgrew its file is begun again."""
        if self.path is None or not self._is_new:
            return
        found = {key: [[*one.quantiles, one.tail_scale] for one in pair] for key, pair in self._found.items()}
        content = json.dumps({"version": CACHE_VERSION, "digest": self.digest, "found": found}).encode()
        if len(content) > MAX_CACHE_BYTES:
            self.path.unlink(missing_ok=True)
            return
        with tempfile.NamedTemporaryFile(
            dir=self.path.parent, prefix=f".{self.path.name}-", delete=False
        ) as file:
            file.write(content)
        move_into_place(Path(file.name), self.path)


def parse_cache(content: bytes, digest: str) -> dict[str, tuple[NullDistribution, NullDistribution]]:
    try:
        document: Any = json.loads(content)
        if (document["version"], document["digest"]) != (CACHE_VERSION, digest):
            return {}
        return {
            key: (parse_distribution(first), parse_distribution(second))
            for key, (first, second) in document["found"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def parse_distribution(values: Sequence[Any]) -> NullDistribution:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != len(BODY) + 1 or not all(map(math.isfinite, numbers)) or min(numbers) < 0:
        raise ValueError("no null distribution")
    return NullDistribution(numbers[:-1], numbers[-1])
