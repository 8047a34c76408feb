"""How models stand: what is built, what was rejected last, the way of their metrics; five queries for all."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db import deployments, releases
from db.models import Release, Stage, Status
from ml.api.metrics import in_order

BACK = 30  # releases that a metric's way is drawn over
WIDTH, HEIGHT, EDGE = 220.0, 48.0, 5.0
LEAST = 0.05  # of the values' magnitude: what a curve's height stands for at least


@dataclass(frozen=True)
class Dot:
    release: int
    value: float
    state: str  # live, served once, waits for an operator, or not served
    x: float
    y: float


@dataclass(frozen=True)
class Way:
    """A metric over the releases, oldest first."""

    metric: str
    dots: list[Dot]

    @property
    def line(self) -> str:
        """Through what users got."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots if dot.state in ("live", "served"))

    @property
    def words(self) -> str:
        served = [dot for dot in self.dots if dot.state in ("live", "served")] or self.dots
        first, last = served[0], served[-1]
        return (
            f"{self.metric} from {first.value:.4g} (release {first.release}) to {last.value:.4g} "
            f"(release {last.release}), lowest {min(d.value for d in served):.4g}, "
            f"highest {max(d.value for d in served):.4g}"
        )


@dataclass(frozen=True)
class Standing:
    newest: list[Release]
    building: Release | None
    stage: Stage | None
    rejected: Release | None
    ways: list[Way]
    earlier: Release | None  # what was live just before, that changes are told against


def standings(session: Session, live: dict[str, Release | None]) -> dict[str, Standing]:
    """Of each model; `live` is the release that each serves."""
    models = list(live)
    newest = releases.newest_of_each(session, models, BACK)
    rejected = releases.last_rejected(session, models)
    building = [r for found in newest.values() for r in found if r.status is Status.BUILDING]
    stages = releases.stages_of(session, [release.id for release in building])
    earlier = deployments.earlier(session, [release.id for release in live.values() if release])
    at_work = {release.model: release for release in reversed(building)}
    return {
        model: Standing(
            found,
            work := at_work.get(model),
            stages.get(work.id) if work else None,
            rejected.get(model),
            ways(found, live[model]),
            earlier.get(model),
        )
        for model, found in newest.items()
    }


def ways(found: Sequence[Release], live: Release | None) -> list[Way]:
    """Of each metric that more than one release has, in the order of the live one's."""
    scored = [release for release in reversed(found) if release.metrics]
    first = in_order(live) if live else None
    names = dict.fromkeys(
        [*(first or ()), *(n for release in reversed(scored) for n in release.metrics or {})]
    )
    number = live.id if live else None
    drawn = (way(name, [r for r in scored if name in (r.metrics or {})], number) for name in names)
    return [one for one in drawn if len(one.dots) > 1]


def way(metric: str, scored: Sequence[Release], live: int | None) -> Way:
    """What is small beside the values is drawn small: the height is a part of their magnitude at least."""
    values = [(release.metrics or {})[metric] for release in scored]
    low, high = min(values, default=0.0), max(values, default=0.0)
    tall = max(high - low, LEAST * max(abs(low), abs(high))) or 1.0
    across = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    up, middle = (HEIGHT - 2 * EDGE) / tall, (low + high) / 2
    return Way(
        metric,
        [
            Dot(
                release.id,
                value,
                state(release, live),
                EDGE + across * place,
                HEIGHT / 2 - up * (value - middle),
            )
            for place, (release, value) in enumerate(zip(scored, values, strict=True))
        ],
    )


def state(release: Release, live: int | None) -> str:
    if release.id == live:
        return "live"
    return {Status.DEPLOYED: "served", Status.PASSED: "waits"}.get(release.status, "not")
