"""What each model serves right now, and what stands in the way of more: `follow` writes it, routes read."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.problems import Problem
from db.models import Deployment, Release
from ml.serving.pool import Pool
from ml.serving.tally import Work
from ml.settings import Model


@dataclass(frozen=True)
class Live:
    """A release that users get."""

    deployment: Deployment
    release: Release
    pool: Pool
    since: datetime
    known: dict[str, Any] = field(default_factory=dict)  # what predictions are shown beside
    tried: bool = True  # whether it has given a prediction before it went live

    @property
    def schema(self) -> dict[str, Any] | None:
        return self.pool.hello.schema

    @property
    def example(self) -> tuple[Any] | None:
        """Features that work, as far as the model says."""
        return (self.pool.hello.examples[0],) if self.pool.hello.examples else schema_example(self.schema)


def schema_example(schema: dict[str, Any] | None) -> tuple[Any] | None:
    examples = (schema or {}).get("examples")
    return (examples[0],) if examples else None


@dataclass(eq=False)
class Place:
    """Where a model is served: the one assignment to `live` is the switch."""

    model: Model
    live: Live | None = None
    doing: str | None = None  # what is being brought up, in words
    trouble: str | None = None  # why what should be live is not, in words
    work: Work = field(default_factory=Work)
    database: str | None = None  # why Postgres could not be asked; None when it could


class Places:
    """One place for each model."""

    def __init__(self, models: list[Model]) -> None:
        self.by_model = {model.name: Place(model) for model in models}
        self.deaf: str | None = None  # why notifications are not listened for; None when they are

    def find(self, model: str | None) -> Place:
        """The place of a model, or of the only one when none is named; raises `Problem`."""
        names = ", ".join(self.by_model)
        if model is None and len(self.by_model) == 1:
            return next(iter(self.by_model.values()))
        if not self.by_model:
            detail = "Set SLIPWAY_REPOSITORY=owner/name and start the appliance again."
            raise Problem(503, "There is no model", f"No repository is followed. {detail}")
        if model is None:
            detail = f"Several models are served: name one with /models/{{name}}. There is {names}."
            raise Problem(404, "Which model?", detail)
        if model not in self.by_model:
            raise Problem(404, "No such model", f"There is no model {model!r}; there is {names}.")
        return self.by_model[model]

    def name(self, model: str | None) -> str:
        """What a request is counted under: a client's text never becomes a name."""
        if model is None and len(self.by_model) == 1:
            return next(iter(self.by_model))
        return model if model in self.by_model else ""

    def database(self) -> str | None:
        """Why Postgres could not be asked lately; None when it could."""
        return next((place.database for place in self.by_model.values() if place.database), None)
