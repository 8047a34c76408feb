"""The exporter, a child process that sends unsynced releases to MLflow, oldest first, until no build runs.

It is started with a build, to be ready when that ends, and lowers its priority meanwhile.

Only this module and `aliases.py` import MLflow's own client. Every step is idempotent: one that is repeated,
because we were killed before it was recorded, leaves the same result.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loguru import logger
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.version import VERSION
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.settings import load_settings
from common.system.session_nice import set_session_nice
from common.text import first_line
from db import mlflow_state, releases
from db.listener import NotificationListener
from db.mlflow_models import MlflowRun
from db.mlflow_state import Unsynced
from db.models import Release
from db.session import create_sessionmaker
from db.states import Status
from ml.mlflow_sync import pyfunc
from ml.mlflow_sync.aliases import AliasExporter
from ml.mlflow_sync.bounded_answers import bound_answers
from ml.mlflow_sync.rest import ALREADY_EXISTS, DOES_NOT_EXIST
from ml.mlflow_sync.run_data import build_params, stage_seconds, to_mlflow_name
from ml.mlflow_sync.server import MlflowServer, MlflowUnavailableError
from ml.paths import HomeLayout
from ml.settings import MlSettings

RUN_STATUSES = {
    Status.DEPLOYED: "FINISHED",
    Status.PASSED: "FINISHED",
    Status.REJECTED: "FAILED",
    Status.FAILED: "FAILED",
}
REFUSAL_CODES = (DOES_NOT_EXIST, ALREADY_EXISTS, "INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST")
NICENESS = 10  # nice: serving and builds go first
POLL_SECONDS = 1.0  # seconds, without a notification
MAX_SUMMARY_CHARS = 300
# MLflow's own retries go on for minutes; ours are the controller's
RETRY_VARIABLES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
QUIET_VARIABLES = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class MlflowExporter:
    """The export of releases, one after the other, each recorded when it is done."""

    def __init__(self, client: MlflowClient, home: HomeLayout, sessions: sessionmaker[Session]) -> None:
        self.client, self.home, self.sessions = client, home, sessions
        self.aliases = AliasExporter(client, sessions)
        self._refused: list[str] = []  # of the release that is being exported

    def export_all(self, models: list[str]) -> bool:
        """Export all that is unsynced; return True while something is built that will follow."""
        with self.sessions.begin() as session:
            busy = bool(releases.list_building(session))
        while True:
            with self.sessions.begin() as session:
                found = [each for each in mlflow_state.list_unsynced(session, ended=True) if has_run(each)]
            for each in found:
                self.export_or_defer(each)
            if not found:
                break
        with self.sessions.begin() as session:
            waiting = [model for model in models if mlflow_state.is_out_of_sync(session, model)]
        for model in waiting:
            self.aliases.sync_aliases(model)
        return busy

    def export_or_defer(self, each: Unsynced) -> None:
        """Export a release; defer one that fails although MLflow is available, so that it blocks no other."""
        assert each.mlflow_run is not None and each.mlflow_run.run is not None
        try:
            self.export_release(each.release, each.mlflow_run, each.mlflow_run.run)
        except Exception as error:  # noqa: BLE001 (a disk, an artifact store, a file that a model left)
            # raises when MLflow is unavailable, which is nobody's fault
            self.client.search_experiments(max_results=1)
            reason = f"{type(error).__name__}: {summarize(error)}"
            with self.sessions.begin() as session:
                is_deferred = mlflow_state.defer_sync(session, each.release, reason)
            outcome = "is exported later" if is_deferred else "is exported in part"
            logger.warning("release {} {}: {}", each.release.id, outcome, reason)

    def export_release(self, release: Release, tracked: MlflowRun, run: str) -> None:
        """Export the outcome of a release, and a version of the registered model when it passed."""
        version = tracked.version
        self._refused = [tracked.trouble] if release.told and tracked.trouble else []
        if release.told is None:
            with self.skip_refused(release, "its metrics"):
                self.log_numbers(release, run)
            with self.skip_refused(release, "its logs"):
                self.log_files(release, run)
        if version is None and release.status in (Status.DEPLOYED, Status.PASSED):
            with self.skip_refused(release, "its model"):
                version = self.register_version(release, run)
            with self.sessions.begin() as session:
                if version is not None:  # a registered model that was deleted restarts its numbers
                    mlflow_state.clear_version(session, release.model, version)
                mlflow_state.record_facts(session, release.id, version=version)
        with self.skip_refused(release, "its end"):
            self.end_run(release, run)
        with self.sessions.begin() as session:
            mlflow_state.mark_synced(session, release, "; ".join(self._refused) or None)
        suffix = f", version {version}" if version else ""
        logger.info("release {} of {} ({}) is in MLflow{}", release.id, release.model, release.status, suffix)

    @contextmanager
    def skip_refused(self, release: Release, what: str) -> Iterator[None]:
        """Log and skip what MLflow refuses, so that one release blocks no others."""
        try:
            yield
        except MlflowException as error:
            if error.error_code not in REFUSAL_CODES:
                raise
            self._refused.append(f"{what}, which it refused ({summarize(error)})")
            logger.warning("release {}: MLflow does not take {}: {}", release.id, what, summarize(error))

    def end_run(self, release: Release, run: str) -> None:
        self.client.set_tag(run, "slipway.status", release.status)
        if release.reason:
            self.client.set_tag(run, "slipway.reason", release.reason[:5000])
        elif "slipway.reason" in self.client.get_run(run).data.tags:  # of an earlier outcome
            self.client.delete_tag(run, "slipway.reason")
        ended = int(release.finished_at.timestamp() * 1000) if release.finished_at else None
        self.client.set_terminated(run, RUN_STATUSES.get(release.status, "KILLED"), ended)

    def log_numbers(self, release: Release, run: str) -> None:
        """Log params, metrics, stage times."""
        at = int((release.finished_at or release.created_at).timestamp() * 1000)
        values = {**(release.metrics or {}), **stage_seconds(release.stages)}
        metrics = [Metric(to_mlflow_name(name), value, at, 0) for name, value in values.items()]
        tags = [RunTag(f"slipway.{name}", value) for name, value in build_params(release).items()]
        self.client.log_batch(run, metrics=metrics, tags=tags)
        for name, value in build_params(release).items():
            # a param cannot be changed: the model's code may have logged it
            with self.skip_refused(release, f"its {name}"):
                self.client.log_param(run, name, value)

    def log_files(self, release: Release, run: str) -> None:
        """Log the files that help a person find the cause: stage logs, manifest, lock."""
        with staging_folder(self.home) as folder:
            logs = self.home.logs_path(release.id)
            if logs.is_dir():
                shutil.copytree(logs, folder / "logs")
            manifest = self.home.source_path(release.id) / "slipway.toml"
            if manifest.is_file() and not manifest.is_symlink():
                shutil.copyfile(manifest, folder / "slipway.toml")
            if release.lock is not None:
                (folder / "requirements.lock").write_text(release.lock)
            self.client.log_artifacts(run, str(folder))

    def register_version(self, release: Release, run: str) -> int | None:
        """Return the release's version, created when it is missing; None when its files are gone."""
        number = str(release.id)
        for existing in self.client.search_model_versions(f"run_id = '{run}'"):
            if existing.name == release.model and existing.tags.get("slipway.release") == number:
                return int(existing.version)
        source, artifact = (
            self.home.source_path(release.id),
            self.home.artifact_path(release.model, release.id),
        )
        if release.pruned_at is not None or not source.is_dir() or not artifact.is_file():
            return None
        tags = {"slipway.release": number, "slipway.commit": release.commit}
        logged_model = self.ensure_logged_model(release, run, tags)
        with staging_folder(self.home) as folder:
            pyfunc.write_model(release, source, artifact, folder, run=run, model=logged_model, mlflow=VERSION)
            self.client.log_model_artifacts(logged_model, str(folder))
        self.client.finalize_logged_model(logged_model, "READY")
        if logged_model not in [output.model_id for output in list_outputs(self.client.get_run(run))]:
            # so that the run shows it
            self.client.log_outputs(run, [LoggedModelOutput(logged_model, step=0)])
        try:
            self.client.get_registered_model(release.model)
        except MlflowException as error:  # somebody has deleted it
            if error.error_code != DOES_NOT_EXIST:
                raise
            self.client.create_registered_model(release.model)
        version = self.client.create_model_version(
            release.model,
            f"models:/{logged_model}",
            run,
            tags=tags,
            description=f"Release {release.id}, commit {release.commit[:8]}. {release.title or ''}".strip(),
            model_id=logged_model,
            await_creation_for=0,
        )
        return int(version.version)

    def ensure_logged_model(self, release: Release, run: str, tags: dict[str, str]) -> str:
        """Return the id of the logged model of its version; repeated attempts create only one."""
        with self.sessions.begin() as session:
            tracked = mlflow_state.find_run(session, release.id)
        if tracked is not None and tracked.logged is not None:
            with suppress(MlflowException):  # somebody has deleted it
                return str(self.client.get_logged_model(tracked.logged).model_id)
        experiment = self.client.get_run(run).info.experiment_id
        created = self.client.create_logged_model(
            experiment, name=release.model, source_run_id=run, tags=tags
        )
        with self.sessions.begin() as session:
            mlflow_state.record_facts(session, release.id, logged=created.model_id)
        return str(created.model_id)


def list_outputs(run: Run) -> list[LoggedModelOutput]:
    return list(run.outputs.model_outputs) if run.outputs else []


def summarize(error: Exception) -> str:
    return first_line(str(error))[:MAX_SUMMARY_CHARS]


def has_run(each: Unsynced) -> bool:
    return each.mlflow_run is not None and each.mlflow_run.run is not None


@contextmanager
def staging_folder(home: HomeLayout) -> Iterator[Path]:
    """Yield a folder on the same disk as what is put into it, so that links can replace copies."""
    home.tracking.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.tracking) as folder:
        yield Path(folder)


def create_client(server: MlflowServer) -> MlflowClient:
    """Return MLflow's own client, set up for all of this process."""
    os.environ.update(RETRY_VARIABLES | QUIET_VARIABLES | server.to_env())
    bound_answers()
    return MlflowClient(server.url, server.url)


def main() -> None:
    settings = load_settings(MlSettings)
    log.configure("track", settings.log)
    set_session_nice("self", NICENESS)
    try:
        server = MlflowServer.from_settings(settings)
        assert server is not None
        client = create_client(server)
        home = HomeLayout(settings.home.absolute())
        shutil.rmtree(home.tracking, ignore_errors=True)  # of an exporter that was killed
        exporter = MlflowExporter(client, home, create_sessionmaker(settings.database_url))
        wakeup = NotificationListener(settings.database_url, "releases", "live", "tracking")
        while exporter.export_all([model.name for model in settings.list_models()]):
            wakeup.wait(POLL_SECONDS)
    except (MlflowUnavailableError, MlflowException) as error:
        sys.exit(f"not everything was exported to MLflow: {summarize(error)}; the rest is exported later")


if __name__ == "__main__":
    main()
