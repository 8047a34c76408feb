"""What is live, scored on the test data that a new release was scored on: a fair comparison."""

from dataclasses import dataclass
from pathlib import Path

from db.models import Deployment
from ml import stagelog
from ml.errors import Rejected, Unavailable
from ml.restore import restore
from ml.settings import Model, Settings
from ml.stages import evaluate
from ml.stages.data import DataSet
from ml.stages.train import Artifact


@dataclass(frozen=True)
class Comparison:
    """The live release and its metrics; these are None with a note when they cannot be had."""

    metrics: dict[str, float] | None = None
    release: int | None = None
    note: str | None = None


def with_live(
    live: Deployment | None, test: DataSet, *, model: Model, settings: Settings, into: Path, log: Path
) -> Comparison:
    """The live metrics as they are known, or scored again when the test data is another; kept in `into`.

    Raises `Unavailable` when the live release cannot be brought back here.
    """
    if live is None:
        return Comparison(note="nothing was live to compare with")
    release = live.release
    if release.metrics is not None and (release.data or {}).get("test", {}).get("sha256") == test.sha256:
        return Comparison(release.metrics, release.id)
    try:
        ready = restore(settings, model, release, stagelog.to(log))
    except Rejected as fault:  # of this disk, not of the commit that is judged
        raise Unavailable(f"release {release.id}, which is live, cannot be compared with: {fault}") from fault
    try:
        scored = evaluate.score(
            ready.room,
            ready.entry_point,
            Artifact(ready.artifact, release.artifact or ""),
            test,
            into=into,
            log=log,
            timeout=settings.evaluate_timeout,
        )
    except Rejected as fault:
        return Comparison(
            release=release.id,
            note=f"release {release.id}, which is live, cannot be scored on the new test data: {fault}",
        )
    note = f"the test data has changed: release {release.id}, which is live, was scored again on the new data"
    return Comparison(scored.metrics, release.id, note)
