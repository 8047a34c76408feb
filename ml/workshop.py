"""One release's place on this machine: which stage works where, with which limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.claims import TRIES
from db.models import Deployment, Release
from ml import comparison, differences, known, manifest, stagelog, trial
from ml.comparison import Comparison
from ml.differences import Differences
from ml.errors import Rejected, Unavailable
from ml.home import Home
from ml.manifest import DataSection, Manifest
from ml.restore import checked
from ml.runner import sandbox
from ml.runner.verb import Room
from ml.settings import Model, Settings
from ml.stages import checkout, data, environment, evaluate, train
from ml.stages.data import DataSet, DataSets
from ml.stages.environment import Resolved
from ml.stages.evaluate import Scored
from ml.stages.train import Artifact
from ml.tracking import code
from ml.tracking.code import Logging


@dataclass(frozen=True)
class Workshop:
    """Hands each stage its folders; it decides nothing. `parent` is the release of a warm start."""

    settings: Settings
    model: Model
    release: Release
    parent: Release | None = None

    @property
    def home(self) -> Home:
        return Home(self.settings.home.absolute())

    @property
    def folder(self) -> Path:
        return self.home.release(self.release.id)

    def log(self, stage: str) -> Path:
        return self.home.log(self.release.id, stage)

    def checkout(self, is_new: bool) -> Path:
        """A commit that is new may still come to the git server, until the last try."""
        return checkout.fetch(
            self.model,
            self.release.commit,
            clone=self.home.repository(self.model.name),
            into=self.home.source(self.release.id),
            token=self.settings.github_token,
            host=self.settings.github_host,
            may_come=is_new and self.release.attempts < TRIES,
            say=stagelog.to(self.log("checkout")),
        )

    def manifest(self, source: Path) -> Manifest:
        """What the repository says, with what the operator says put over it."""
        said = manifest.read(source)
        say = stagelog.to(self.log("checkout"), "slipway.toml")
        for section in said.without_effect:
            say(f"[{section}] is read and has no effect in this version of Slipway")
        gate = self.model.operator_gate.over(said.gate)
        return said.model_copy(update={"gate": gate, "resources": self.model.resources.over(said.resources)})

    def environment(self, source: Path) -> tuple[Room, Resolved]:
        log = self.log("environment")
        held = sandbox.of(self.settings, self.model, manifest.read(source).resources)
        resolved = environment.resolve(source, self.home, log, held)
        folder = environment.build(resolved, self.home, log, held)
        return Room(folder, source, self.home.scratch(self.release.id), held), resolved

    def data(self, section: DataSection, source: Path) -> DataSets:
        supply = data.supply(self.settings, self.model.name)
        return data.fetch(section, source, supply, into=self.folder / "data", log=self.log("data"))

    def train(self, room: Room, said: Manifest, dataset: DataSet, logging: Logging) -> Artifact:
        """Once more beside MLflow, where that went away while the model's code logged to it."""
        say = stagelog.to(self.log("train"))
        if logging.aside:
            say(f"{logging.aside}: what train() logs to it goes into files, and goes with them")
        try:
            return self._fit(room, said, dataset, logging)
        except Rejected:
            if not logging.is_away():
                raise
        finally:
            logging.end(self.model.name)
        say("MLflow went away while train() was logging to it: once more, with a place for its logs here")
        return self._fit(room, said, dataset, code.aside(room.scratch, "MLflow went away"))

    def _fit(self, room: Room, said: Manifest, dataset: DataSet, logging: Logging) -> Artifact:
        return train.fit(
            room,
            said.model.entry_point,
            dataset,
            into=self.folder / "train",
            artifact=self.home.artifact(self.model.name, self.release.id),
            log=self.log("train"),
            timeout=said.resources.train_timeout or self.settings.train_timeout,
            previous=self.previous(),
            logging=logging,
        )

    def previous(self) -> Path | None:
        """The artifact of the release that a warm start goes on from."""
        if self.parent is None:
            return None
        if self.parent.artifact is None or self.parent.pruned_at is not None:
            raise Rejected(f"release {self.parent.id} has no trained model to start from")
        return checked(self.home.artifact(self.model.name, self.parent.id), self.parent.artifact)

    def evaluate(self, room: Room, said: Manifest, artifact: Artifact, dataset: DataSet) -> Scored:
        return evaluate.score(
            room,
            said.model.entry_point,
            artifact,
            dataset,
            into=self.folder / "evaluate",
            log=self.log("evaluate"),
            timeout=self.settings.evaluate_timeout,
        )

    def known(
        self, room: Room, said: Manifest, kind: str, scored: Scored, dataset: DataSet
    ) -> dict[str, Any] | str | None:
        """What predictions are shown beside, or in words why nothing; None where it is not asked."""
        if not (kind == "regression" or (kind == "time-series" and scored.history)):
            return None
        into, log = self.folder / "known", self.log("evaluate")
        return known.ask(room, said.model.entry_point, kind, dataset, into=into, log=log)

    def try_prediction(
        self, room: Room, said: Manifest, kind: str, artifact: Artifact, scored: Scored
    ) -> str | None:
        """In words why no prediction was tried; None when one was given.

        A time series is asked for 1 when it starts.
        """
        if kind == "time-series":
            return None
        release = differences.Release(room, said.model.entry_point, artifact)
        into, log = self.folder / "trial", self.log("gate")
        return trial.try_rows(release, scored.rows, kind, into=into, log=log)

    def compare(self, live: Deployment | None, dataset: DataSet) -> Comparison:
        """What cannot be had now is waited for; at the last try a person is left to judge."""
        try:
            return comparison.with_live(
                live,
                dataset,
                model=self.model,
                settings=self.settings,
                into=self.folder / f"live-{live.id if live else 0}",
                log=self.log("gate"),
            )
        except Unavailable as fault:
            if live is None or self.release.attempts < TRIES:
                raise
            return Comparison(release=live.release_id, note=str(fault))

    def differences(
        self, live: Deployment | None, room: Room, said: Manifest, artifact: Artifact, requests: Sequence[Any]
    ) -> Differences | str:
        """Or in words why there are none; what cannot be had now is waited for where a rule asks for it."""
        try:
            return differences.from_live(
                live,
                differences.Release(room, said.model.entry_point, artifact),
                requests,
                model=self.model,
                settings=self.settings,
                into=self.folder / f"differences-{live.id if live else 0}",
                log=self.log("gate"),
            )
        except Unavailable as fault:
            if said.gate.predictions is not None:
                raise
            return f"the predictions could not be compared: {fault}"
