"""The runs of releases, created as soon as a build begins, so that the model's code can log to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import mlflow_state
from db.mlflow_models import MlflowRun
from db.models import Release
from ml.mlflow_sync import rest
from ml.mlflow_sync.rest import MlflowRest

KEY_TAG = "slipway.key"


@dataclass(frozen=True)
class ExperimentRef:
    """The experiment that a model's runs go to, and whether its own code may log there."""

    experiment: str
    is_open: bool


class Runs:
    """The creation of runs, each once, whatever is killed in between."""

    def __init__(self, api: MlflowRest, sessions: sessionmaker[Session], models: Sequence[str]) -> None:
        """Create the experiments of all these models: none of their code runs before they exist."""
        self._api, self._sessions = api, sessions
        self._experiments: dict[str, ExperimentRef] = {}
        for model in models:
            self.ensure_experiment(model)

    def ensure_run(self, release: Release) -> MlflowRun:
        """Return the run of a release; raises `MlflowUnavailableError` or `MlflowApiError`."""
        target = self.ensure_experiment(release.model)
        with self._sessions.begin() as session:
            recorded = mlflow_state.find_run(session, release.id)
            tracked = recorded or mlflow_state.ensure_run(session, release.id)
        if tracked.run is not None:
            return tracked
        # a row without a run: we were killed before we could record that there is one
        run = recorded and rest.find_run(self._api, target.experiment, KEY_TAG, recorded.key)
        if run is None:
            tags = build_tags(release) | {KEY_TAG: tracked.key}
            began = release.started_at or release.created_at
            started = int(began.timestamp() * 1000)
            run = rest.create_run(self._api, target.experiment, f"release {release.id}", tags, started)
        with self._sessions.begin() as session:
            facts = {"experiment": target.experiment, "run": run, "is_open": target.is_open}
            mlflow_state.record_facts(session, release.id, **facts)
            found = mlflow_state.find_run(session, release.id)
            assert found is not None
            return found

    def ensure_experiment(self, model: str) -> ExperimentRef:
        if model not in self._experiments:
            experiment, identity = rest.ensure_experiment(self._api, model)
            with self._sessions.begin() as session:
                if not mlflow_state.set_experiment(session, model, identity):
                    logger.warning("{} is not in this MLflow yet: its whole history is exported", model)
            rest.ensure_registered_model(self._api, model)
            self._experiments[model] = ExperimentRef(
                experiment, rest.grant_access(self._api, model, experiment)
            )
        return self._experiments[model]


def build_tags(release: Release) -> dict[str, str]:
    """Return the tags of a release when it begins, under MLflow's own names where it has some."""
    tags = {
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
    return {name: str(value)[:5000] for name, value in tags.items() if value not in (None, "")}
