"""The registry of what each model serves now and its errors: the reconciler writes it, routes read it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.problems import ProblemError
from db.models import Deployment, Release
from ml.record_section import RecordSection
from ml.serving.counters import WorkerStats
from ml.serving.workers.pool import Pool
from ml.settings import ModelConfig


@dataclass(frozen=True, kw_only=True)
class LoadedRelease:
    """A release whose model is loaded, and what a person needs to try it."""

    release: Release
    pool: Pool
    reference_data: dict[str, Any] = field(default_factory=dict)  # what predictions are shown next to
    row: tuple[Any] | None = None  # of the test data, as it was answered; used without the author's examples

    @property
    def schema(self) -> dict[str, Any] | None:
        return self.pool.handshake.schema

    @property
    def target_column(self) -> str | None:
        """The column of a table that the model learns to predict, where it is declared."""
        named = (self.reference_data.get("target") or {}).get("column") or (self.release.info or {}).get(
            "Target"
        )
        return named if isinstance(named, str) else None

    @property
    def example(self) -> tuple[Any] | None:
        """Features that should work: the author's example, else a row of the test data, else a guess."""
        given = self.pool.handshake.examples
        return (given[0],) if given else self.row or find_schema_example(self.schema)


@dataclass(frozen=True, kw_only=True)
class LiveRelease(LoadedRelease):
    """The release that answers users."""

    deployment: Deployment
    since: datetime
    record: RecordSection = field(default_factory=RecordSection)  # what the request log stores of its calls
    was_probed: bool = True  # True when it returned a prediction before it went live


def find_schema_example(schema: dict[str, Any] | None) -> tuple[Any] | None:
    examples = (schema or {}).get("examples")
    return (examples[0],) if examples else None


@dataclass(eq=False)
class ServedModel:
    """The serving state of one model: the one assignment to `live` is the switch."""

    model: ModelConfig
    live: LiveRelease | None = None
    was_live: bool | None = None  # True when Postgres has had a live release; None: not read yet
    activity: str | None = None  # what is being started, in words
    error: str | None = None  # why what should be live is not, in words
    worker_stats: WorkerStats = field(default_factory=WorkerStats)
    database_error: str | None = None  # why Postgres could not be read; None when it could


class ModelRegistry:
    """The served models by name."""

    def __init__(self, models: list[ModelConfig]) -> None:
        self.by_model = {model.name: ServedModel(model) for model in models}
        self.listen_error: str | None = None  # why notifications are not listened for; None when they are

    def find(self, model: str | None) -> ServedModel:
        """Return a served model, or the only one when none is named; raises `ProblemError`."""
        if model is None and len(self.by_model) == 1:
            return next(iter(self.by_model.values()))
        if model is not None and model in self.by_model:
            return self.by_model[model]
        names = ", ".join(self.by_model)
        if not self.by_model:
            detail = "Set SLIPWAY_REPOSITORY=owner/name, or an address of git, and start the appliance again."
            raise ProblemError(503, "There is no model", f"No repository is followed. {detail}")
        if model is None:
            detail = f"Several models are served: name one with /models/{{name}}. There is {names}."
            raise ProblemError(404, "Which model?", detail)
        raise ProblemError(404, "No such model", f"There is no model {model!r}; there is {names}.")

    def get_stats_name(self, model: str | None) -> str:
        """Return the name that a request is counted under: a client's text never becomes a name."""
        if model is None and len(self.by_model) == 1:
            return next(iter(self.by_model))
        return model if model in self.by_model else ""

    def is_early(self, name: str) -> bool:
        """Return True when no release of the model has ever been live."""
        served = self.by_model.get(name)
        return served is not None and served.live is None and served.was_live is False

    def find_unready(self) -> list[str]:
        """Return the models that cannot predict; one without a first release counts only if all cannot."""
        without = {name: served for name, served in self.by_model.items() if served.live is None}
        if len(without) == len(self.by_model):
            return list(without)
        return [name for name, served in without.items() if served.was_live is not False]

    def find_database_error(self) -> str | None:
        """Return why Postgres could not be read lately; None when it could."""
        return next((one.database_error for one in self.by_model.values() if one.database_error), None)
