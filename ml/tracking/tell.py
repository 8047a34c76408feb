"""Tells MLflow all that it has not heard, oldest first, until nothing is built. `python -m ml.tracking.tell`

It is started with a build, to be ready when that ends, and steps back behind it.

The only place where MLflow's own client is used. What is done twice, because we were killed before it was
written down, leaves what doing it once leaves.
"""

import os
import posixpath
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
from common.leash import step_back
from common.settings import read
from db import deployments, releases, tracking
from db.models import Cause, Release, Stage, State, Status, Tracked
from db.session import sessions
from db.tracking import Aliases, Untold
from db.wakeup import Wakeup
from ml.home import Home
from ml.settings import Settings
from ml.tracking import pyfunc
from ml.tracking.calls import EXISTS, MISSING, NO_ALIAS
from ml.tracking.promotions import PREVIOUS, PROD
from ml.tracking.server import Away, Server

ENDS = {
    Status.DEPLOYED: "FINISHED",
    Status.PASSED: "FINISHED",
    Status.REJECTED: "FAILED",
    Status.FAILED: "FAILED",
}
REFUSALS = (MISSING, EXISTS, "INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST")
ABSENT = (MISSING, NO_ALIAS)
LATER = 10  # nice: others answer and build
LOOK = 1.0  # seconds, should nobody notify
# MLflow's own tries go on for minutes; ours are the look-out's
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


class Teller:
    """One after the other, each written down when it is told."""

    def __init__(self, client: MlflowClient, home: Home, sessions: sessionmaker[Session]) -> None:
        self.client, self.home, self.sessions = client, home, sessions
        self._refused: list[str] = []  # of the release that is being told of

    def tell(self, models: list[str]) -> bool:
        """All that there is to tell; whether there will be more, as something is being built."""
        with self.sessions.begin() as session:
            busy = bool(releases.building(session))
        while True:
            with self.sessions.begin() as session:
                found = [each for each in tracking.untold(session, ended=True) if has_run(each)]
            for each in found:
                self.one(each)
            if not found:
                break
        with self.sessions.begin() as session:
            waiting = [model for model in models if tracking.is_waiting(session, model)]
        for model in waiting:
            self.aliases(model)
        return busy

    def one(self, each: Untold) -> None:
        """What fails although MLflow is there is put off, so that it keeps nothing else from being told."""
        assert each.tracked is not None and each.tracked.run is not None
        try:
            self.release(each.release, each.tracked, each.tracked.run)
        except Exception as error:  # noqa: BLE001 (a disk, an artifact store, a file that a model left)
            self.client.search_experiments(max_results=1)  # raises when MLflow is away, nobody's fault
            why = f"{type(error).__name__}: {first_line(error)}"
            with self.sessions.begin() as session:
                again = tracking.put_off(session, each.release, why)
            what = "is told of later" if again else "is told of in part"
            logger.warning("release {} {}: {}", each.release.id, what, why)

    def release(self, release: Release, tracked: Tracked, run: str) -> None:
        """How it ended; a version of the registered model, when it passed."""
        version = tracked.version
        self._refused = [tracked.trouble] if release.told and tracked.trouble else []
        if release.told is None:
            with self.taken(release, "its metrics"):
                self.numbers(release, run)
            with self.taken(release, "its logs"):
                self.files(release, run)
        if version is None and release.status in (Status.DEPLOYED, Status.PASSED):
            with self.taken(release, "its model"):
                version = self.register(release, run)
            with self.sessions.begin() as session:
                if version is not None:  # a registered model that was deleted begins to count anew
                    tracking.forget(session, release.model, version)
                tracking.record(session, release.id, version=version)
        with self.taken(release, "its end"):
            self.end(release, run)
        with self.sessions.begin() as session:
            tracking.told(session, release, "; ".join(self._refused) or None)
        as_what = f", version {version}" if version else ""
        logger.info(
            "release {} of {} ({}) is in MLflow{}", release.id, release.model, release.status, as_what
        )

    @contextmanager
    def taken(self, release: Release, what: str) -> Iterator[None]:
        """What MLflow refuses is said and left out, so that one release keeps no others from being told."""
        try:
            yield
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            self._refused.append(f"{what}, which it refused ({first_line(error)})")
            logger.warning("release {}: MLflow does not take {}: {}", release.id, what, first_line(error))

    def end(self, release: Release, run: str) -> None:
        self.client.set_tag(run, "slipway.status", release.status)
        if release.reason:
            self.client.set_tag(run, "slipway.reason", release.reason[:5000])
        elif "slipway.reason" in self.client.get_run(run).data.tags:  # of an earlier end
            self.client.delete_tag(run, "slipway.reason")
        ended = int(release.finished_at.timestamp() * 1000) if release.finished_at else None
        self.client.set_terminated(run, ENDS.get(release.status, "KILLED"), ended)

    def numbers(self, release: Release, run: str) -> None:
        """Params, metrics, stage times."""
        at = int((release.finished_at or release.created_at).timestamp() * 1000)
        values = {**(release.metrics or {}), **seconds(release.stages)}
        metrics = [Metric(worded(name), value, at, 0) for name, value in values.items()]
        tags = [RunTag(f"slipway.{name}", value) for name, value in params_of(release).items()]
        self.client.log_batch(run, metrics=metrics, tags=tags)
        for name, value in params_of(release).items():
            with self.taken(release, f"its {name}"):  # once said, it stays: the model's code may have said it
                self.client.log_param(run, name, value)

    def files(self, release: Release, run: str) -> None:
        """What a person looks at to see why."""
        with scratch(self.home) as folder:
            logs = self.home.logs(release.id)
            if logs.is_dir():
                shutil.copytree(logs, folder / "logs")
            manifest = self.home.source(release.id) / "slipway.toml"
            if manifest.is_file() and not manifest.is_symlink():
                shutil.copyfile(manifest, folder / "slipway.toml")
            if release.lock is not None:
                (folder / "requirements.lock").write_text(release.lock)
            self.client.log_artifacts(run, str(folder))

    def register(self, release: Release, run: str) -> int | None:
        """The version that it is, or becomes; None when what it was made of is gone."""
        number = str(release.id)
        for known in self.client.search_model_versions(f"run_id = '{run}'"):
            if known.name == release.model and known.tags.get("slipway.release") == number:
                return int(known.version)
        source, artifact = self.home.source(release.id), self.home.artifact(release.model, release.id)
        if release.pruned_at is not None or not source.is_dir() or not artifact.is_file():
            return None
        tags = {"slipway.release": number, "slipway.commit": release.commit}
        logged = self.logged(release, run, tags)
        with scratch(self.home) as folder:
            pyfunc.write(release, source, artifact, folder, run=run, model=logged, mlflow=VERSION)
            self.client.log_model_artifacts(logged, str(folder))
        self.client.finalize_logged_model(logged, "READY")
        if logged not in [output.model_id for output in outputs_of(self.client.get_run(run))]:
            self.client.log_outputs(run, [LoggedModelOutput(logged, step=0)])  # so that the run shows it
        try:
            self.client.get_registered_model(release.model)
        except MlflowException as error:  # somebody has deleted it
            if error.error_code != MISSING:
                raise
            self.client.create_registered_model(release.model)
        made = self.client.create_model_version(
            release.model,
            f"models:/{logged}",
            run,
            tags=tags,
            description=f"Release {release.id}, commit {release.commit[:8]}. {release.title or ''}".strip(),
            model_id=logged,
            await_creation_for=0,
        )
        return int(made.version)

    def logged(self, release: Release, run: str, tags: dict[str, str]) -> str:
        """The id of the logged model that its version is made of; one, however often this is tried."""
        with self.sessions.begin() as session:
            known = tracking.of(session, release.id)
        if known is not None and known.logged is not None:
            with suppress(MlflowException):  # somebody has deleted it
                return str(self.client.get_logged_model(known.logged).model_id)
        experiment = self.client.get_run(run).info.experiment_id
        made = self.client.create_logged_model(experiment, name=release.model, source_run_id=run, tags=tags)
        with self.sessions.begin() as session:
            tracking.record(session, release.id, logged=made.model_id)
        return str(made.model_id)

    def aliases(self, model: str) -> None:
        """Put `prod` on what is live and `previous` on what was before; remembered before it is sent.

        `prod` is left where it is when it is there as far as we know: it may have been moved again meanwhile.
        """
        with self.sessions.begin() as session:
            belong, known = tracking.belongs(session, model), tracking.alias(session, model)
            if belong is None:
                return
            refused = (
                known.refused if known and known.version == belong.prod else cannot_start(session, model)
            )
            stays = known is not None and known.sent and known.version == belong.prod
            if not stays:
                tracking.put(session, model, belong, sent=False, refused=refused)
        prod = belong.prod if stays else self.alias(model, PROD, belong.prod)
        previous = self.alias(model, PREVIOUS, belong.previous)
        with self.sessions.begin() as session:
            tracking.put(session, model, Aliases(prod, previous), sent=True, refused=refused)
        logger.info("MLflow's alias {} of {} is at version {}", PROD, model, prod or "none")

    def alias(self, model: str, name: str, version: int | None) -> int | None:
        """Put an alias on a version, or away; gives where it is. None: that version was deleted in MLflow."""
        try:
            if version is not None:
                self.client.set_registered_model_alias(model, name, str(version))
            else:
                self.client.delete_registered_model_alias(model, name)
        except MlflowException as error:
            if error.error_code not in ABSENT or (version and error.error_code != MISSING):
                raise
            if version is not None:
                logger.warning("version {} of {} was deleted in MLflow", version, model)
                with self.sessions.begin() as session:
                    tracking.forget(session, model, version)
            return None
        return version


def outputs_of(run: Run) -> list[LoggedModelOutput]:
    return list(run.outputs.model_outputs) if run.outputs else []


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]


def cannot_start(session: Session, model: str) -> str | None:
    """Why the newest decision was a promotion that came to nothing; None when it was not."""
    newest = deployments.history(session, model, limit=1)
    if not newest or newest[0].cause is not Cause.PROMOTION or newest[0].state is not State.FAILED:
        return None
    return f"release {newest[0].release_id} could not take the place: {newest[0].reason}"


def has_run(each: Untold) -> bool:
    return each.tracked is not None and each.tracked.run is not None


def seconds(stages: list[Stage]) -> dict[str, float]:
    """How long each stage took, its last try."""
    return {
        f"seconds/{stage.name}": (stage.ended_at - stage.started_at).total_seconds()
        for stage in stages
        if stage.ended_at is not None
    }


def params_of(release: Release) -> dict[str, str]:
    facts = {
        "commit": release.commit,
        "trigger": release.trigger,
        "pull_request": release.pull_request,
        "environment": release.environment,
        "python": release.python,
        "kind": release.kind,
        "artifact": release.artifact,
    }
    for part, data in (release.data or {}).items():
        facts |= {f"data/{part}": data.get("sha256") if isinstance(data, dict) else data}
    return {worded(name): str(value)[:5000] for name, value in facts.items() if value is not None}


def worded(name: str) -> str:
    """A name that MLflow takes: a model may call its metrics as it likes."""
    kept = "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in name)
    return posixpath.normpath(kept[:250]).lstrip("/.") or "_"  # MLflow takes them for paths


@contextmanager
def scratch(home: Home) -> Iterator[Path]:
    """A folder beside what is put into it, so that links suffice where it would be copied."""
    home.tracking.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.tracking) as folder:
        yield Path(folder)


def main() -> None:
    settings = read(Settings)
    log.configure("track", settings.log)
    step_back("self", LATER)
    try:
        server = Server.of(settings)
        assert server is not None
        os.environ.update(PATIENCE | QUIET | server.variables())
        client = MlflowClient(server.url, server.url)
        home = Home(settings.home.absolute())
        shutil.rmtree(home.tracking, ignore_errors=True)  # of one that was killed
        teller = Teller(client, home, sessions(settings.database_url))
        wakeup = Wakeup(settings.database_url, "releases", "live", "tracking")
        while teller.tell([model.name for model in settings.models()]):
            wakeup.wait(LOOK)
    except (Away, MlflowException) as trouble:
        sys.exit(f"MLflow could not be told of all: {first_line(trouble)}; the rest is told later")


if __name__ == "__main__":
    main()
