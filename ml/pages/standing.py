"""How models stand: what is built, what was rejected last, the way of their metrics; five queries for all."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db import deployments, releases
from db.models import Release, Stage, Status

BACK = 30  # releases that a metric's way is drawn over
WIDTH, HEIGHT, EDGE = 220.0, 48.0, 5.0


@dataclass(frozen=True)
class Dot:
    release: int
    value: float
    served: bool
    x: float
    y: float


@dataclass(frozen=True)
class Way:
    """A metric over the releases, oldest first."""

    metric: str
    dots: list[Dot]

    @property
    def line(self) -> str:
        """Through those that the gate let through: what users got."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots if dot.served)

    @property
    def words(self) -> str:
        served = [dot for dot in self.dots if dot.served] or self.dots
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


def standings(session: Session, live: dict[str, int | None]) -> dict[str, Standing]:
    """Of each model; `live` is the release that each serves."""
    models = list(live)
    newest = releases.newest_of_each(session, models, BACK)
    rejected = releases.last_rejected(session, models)
    building = [r for found in newest.values() for r in found if r.status is Status.BUILDING]
    stages = releases.stages_of(session, [release.id for release in building])
    earlier = deployments.earlier(session, [release for release in live.values() if release is not None])
    at_work = {release.model: release for release in reversed(building)}
    return {
        model: Standing(
            found,
            work := at_work.get(model),
            stages.get(work.id) if work else None,
            rejected.get(model),
            ways(found),
            earlier.get(model),
        )
        for model, found in newest.items()
    }


def ways(found: Sequence[Release]) -> list[Way]:
    """Of each metric that more than one release has."""
    scored = [release for release in reversed(found) if release.metrics]
    names = dict.fromkeys(name for release in reversed(scored) for name in release.metrics or {})
    drawn = (way(name, [r for r in scored if name in (r.metrics or {})]) for name in names)
    return [one for one in drawn if len(one.dots) > 1]


def way(metric: str, scored: Sequence[Release]) -> Way:
    values = [(release.metrics or {})[metric] for release in scored]
    low, high = min(values), max(values)
    across = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    up = (HEIGHT - 2 * EDGE) / ((high - low) or 1.0)
    return Way(
        metric,
        [
            Dot(
                release.id,
                value,
                release.status in (Status.DEPLOYED, Status.PASSED),
                EDGE + across * place,
                HEIGHT - EDGE - up * (value - low) if high > low else HEIGHT / 2,
            )
            for place, (release, value) in enumerate(zip(scored, values, strict=True))
        ],
    )
