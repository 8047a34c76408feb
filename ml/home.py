"""Where things are in `SLIPWAY_HOME`; nothing else builds a path in it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Everything here but the artifacts can be made again from Postgres, git and the package index."""

    root: Path

    def repository(self, model: str) -> Path:
        """The bare clone of a model's repository."""
        return self.root / "repositories" / f"{model}.git"

    def environment(self, key: str) -> Path:
        return self.root / "environments" / key

    @property
    def locks(self) -> Path:
        """What requirements were resolved to, by what they said."""
        return self.root / "locks"

    @property
    def package_cache(self) -> Path:
        """uv's, shared by all models: no code of a package writes it."""
        return self.root / "cache/packages"

    def own_package_cache(self, model: str) -> Path:
        """uv's, for packages that have to be built: their code writes it."""
        return self.root / "cache" / f"packages-{model}"

    @property
    def pythons(self) -> Path:
        """Interpreters that uv has fetched."""
        return self.root / "pythons"

    @property
    def data_cache(self) -> Path:
        """What was brought from elsewhere to train and test on; shared between models."""
        return self.root / "data-cache"

    def artifact(self, model: str, release: int) -> Path:
        """The trained model of a release, as its `train` gave it."""
        return self.root / "artifacts" / model / str(release)

    def release(self, release: int) -> Path:
        """The folder where a release is built and, later, runs: source tree, outputs of stages, logs."""
        return self.root / "releases" / str(release)

    def source(self, release: int) -> Path:
        return self.release(release) / "source"

    def logs(self, release: int) -> Path:
        return self.release(release) / "logs"

    def log(self, release: int, stage: str) -> Path:
        return self.logs(release) / f"{stage}.log"

    @property
    def tracking(self) -> Path:
        """What is put together to be sent to MLflow."""
        return self.root / "tracking"

    @property
    def former_code_key(self) -> Path:
        """What the passwords of models' code in MLflow were made from; of no use any more."""
        return self.root / "mlflow-code.key"

    def tracking_lock(self, model: str) -> Path:
        """Held while the password of a model's code in MLflow is changed."""
        return self.root / "mlflow-locks" / f"{model}.lock"

    def scratch(self, release: int) -> Path:
        """HOME and TMPDIR of the model's code."""
        return self.release(release) / "scratch"
