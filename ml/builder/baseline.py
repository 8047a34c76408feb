"""The baseline of the gate: the live release, scored on the same test data as the new one."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import RejectedError, UnavailableError
from db.models import Deployment
from ml import stage_log
from ml.builder import scoring
from ml.runtime.materialize import materialize_release
from ml.settings import MlSettings, ModelConfig
from ml.sources.datasets import DataSet


@dataclass(frozen=True)
class Baseline:
    """The live release and its metrics; these are None, with a note, when they are unavailable."""

    metrics: dict[str, float] | None = None
    release: int | None = None
    note: str | None = None


def score_baseline(
    live: Deployment | None,
    test: DataSet,
    *,
    model: ModelConfig,
    settings: MlSettings,
    output: Path,
    log: Path,
) -> Baseline:
    """Return the stored live metrics, or score again when the test data has changed, into `output`.

    Raises `UnavailableError` when the live release cannot be materialized on this machine.
    """
    if live is None:
        return Baseline(note="nothing was live to compare with")
    release = live.release
    name = f"release {release.id}, which it is held against,"
    if release.metrics is not None and (release.data or {}).get("test", {}).get("sha256") == test.sha256:
        return Baseline(release.metrics, release.id)
    try:
        ready = materialize_release(settings, model, release, stage_log.stage_logger(log))
    except RejectedError as fault:  # a fault of this disk, not of the commit under judgement
        raise UnavailableError(f"{name} cannot be compared with: {fault}") from fault
    try:
        scored = scoring.score_release(ready, test, output=output, log=log, timeout=settings.evaluate_timeout)
    except RejectedError as fault:
        return Baseline(
            release=release.id,
            note=f"{name} cannot be scored on the new test data: {fault}",
        )
    note = f"the test data has changed: {name} was scored again on the new data"
    return Baseline(scored.metrics, release.id, note)
