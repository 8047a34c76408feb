"""A release's run: made as soon as its build begins, so that what the model's code logs has a place."""

from collections.abc import Sequence
from dataclasses import dataclass

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import tracking
from db.models import Release, Tracked
from ml.tracking import calls
from ml.tracking.calls import Calls

KEY = "slipway.key"


@dataclass(frozen=True)
class Place:
    """Where the runs of a model go, and whether its own code may log there."""

    experiment: str
    is_open: bool


class Runs:
    """Makes runs, each once, whatever is killed in between."""

    def __init__(self, calls: Calls, sessions: sessionmaker[Session], models: Sequence[str]) -> None:
        """Makes the places of all these models: none of their code runs before they are there."""
        self._calls, self._sessions = calls, sessions
        self._places: dict[str, Place] = {}
        for model in models:
            self.place(model)

    def begin(self, release: Release) -> Tracked:
        """The run of a release; raises `Away` or `Said`."""
        place = self.place(release.model)
        with self._sessions.begin() as session:
            known = tracking.of(session, release.id)
            tracked = known or tracking.begin(session, release.id)
        if tracked.run is not None:
            return tracked
        # a row without a run: we were killed before we could write down that there is one
        run = known and calls.run_with(self._calls, place.experiment, KEY, known.key)
        if run is None:
            tags = tags_of(release) | {KEY: tracked.key}
            began = release.started_at or release.created_at
            started = int(began.timestamp() * 1000)
            run = calls.run(self._calls, place.experiment, f"release {release.id}", tags, started)
        with self._sessions.begin() as session:
            facts = {"experiment": place.experiment, "run": run, "is_open": place.is_open}
            tracking.record(session, release.id, **facts)
            found = tracking.of(session, release.id)
            assert found is not None
            return found

    def place(self, model: str) -> Place:
        if model not in self._places:
            experiment, where = calls.experiment(self._calls, model)
            with self._sessions.begin() as session:
                if not tracking.settle_at(session, model, where):
                    logger.warning("{} is not in this MLflow yet: it is told the whole history", model)
            calls.registered_model(self._calls, model)
            self._places[model] = Place(experiment, calls.let_in(self._calls, model, experiment))
        return self._places[model]


def tags_of(release: Release) -> dict[str, str]:
    """What is known of a release when it begins; in MLflow's own words where it has some."""
    said = {
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": release.repository,
        "mlflow.source.git.commit": release.commit,
        "mlflow.user": release.author or release.requested_by or "slipway",
        "slipway.release": release.id,
        "slipway.model": release.model,
        "slipway.commit": release.commit,
        "slipway.trigger": release.trigger,
        "slipway.pull_request": release.pull_request,
        "slipway.title": release.title,
        "slipway.tag": release.ref,
        "slipway.requested_by": release.requested_by,
        "slipway.warm_start": release.warm_start,
    }
    return {name: str(value)[:5000] for name, value in said.items() if value not in (None, "")}
