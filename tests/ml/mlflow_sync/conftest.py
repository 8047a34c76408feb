"""An appliance that tells a real MLflow server, one for all tests that a process runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from cli.up.postgres import Postgres
from db import appliance, deployment_history, deployments, mlflow_state
from db.models import Deployment, Release
from tests.harness import mlflow
from tests.harness.mlflow import Server
from tests.harness.repositories import Files
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance

NUMBERS = count(1)


@pytest.fixture(scope="session")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = mlflow.start(postgres, tmp_path_factory.mktemp("mlflow"))
    yield started
    started.stop()


@dataclass
class Tracked:
    """An appliance, and what MLflow knows of its one model."""

    appliance: Appliance
    server: Server
    client: MlflowClient

    @property
    def model(self) -> str:
        return self.appliance.model

    def live(self, files: Files) -> Release:
        """Merge, build, and be live; gives the release."""
        commit = self.appliance.merge(files)
        self.appliance.settle()
        self.go_live()
        return self.appliance.release(commit)

    def go_live(self, reason: str | None = None) -> None:
        """What serve would say of what is wanted: that it is live, or the reason why it could not be."""
        with self.appliance.sessions.begin() as session:
            wanted = deployments.find_wanted(session, self.model)
            assert wanted is not None
            if reason is None:
                deployments.mark_live(session, wanted)
            else:
                deployments.mark_failed(session, wanted, reason)

    def told(self) -> None:
        """Look until MLflow has heard all."""

        def all_told() -> bool:
            self.appliance.look()
            with self.appliance.sessions.begin() as session:
                known = {
                    release: mlflow_state.find_run(session, release.id)
                    for release in self.appliance.releases()
                }
                told = all(tracked and release.told == release.status for release, tracked in known.items())
                return told and not mlflow_state.is_out_of_sync(session, self.model)

        wait_until(all_told, 90, "MLflow is told")

    def runs(self) -> list[Run]:
        """Those of releases, oldest first."""
        found = self.every_run()
        return sorted((run for run in found if "mlflow.parentRunId" not in run.data.tags), key=number)

    def every_run(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name(self.model)
        return list(self.client.search_runs([experiment.experiment_id])) if experiment else []

    def at(self, alias: str) -> ModelVersion | None:
        try:
            return self.client.get_model_version_by_alias(self.model, alias)
        except MlflowException:
            return None

    def move(self, version: int | str) -> None:
        """What a person does in MLflow."""
        self.client.set_registered_model_alias(self.model, "prod", str(version))

    def decisions(self) -> list[Deployment]:
        """Newest first."""
        with self.appliance.sessions.begin() as session:
            return list(deployment_history.list_deployments(session, self.model))


def number(run: Run) -> int:
    return int(run.data.tags["slipway.release"])


@pytest.fixture
def make_tracked(
    make_appliance: Callable[..., Appliance], server: Server, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Tracked]:
    def make(**variables: Any) -> Tracked:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "slipway")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", server.appliance_password)
        variables = {
            "SLIPWAY_REPOSITORY": f"acme/tracked-{next(NUMBERS)}",
            "MLFLOW_TRACKING_URI": server.url,
            "SLIPWAY_POLL_SECONDS": "0.5",
            **variables,
        }
        made = make_appliance(**variables)
        with made.sessions.begin() as session:
            appliance.set_mode(session, "repository")
        return Tracked(made, server, MlflowClient(server.url, server.url))

    return make


@pytest.fixture
def tracked(make_tracked: Callable[..., Tracked]) -> Tracked:
    return make_tracked()
