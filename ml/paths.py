"""The layout of `SLIPWAY_HOME`; no other module builds a path in it."""

from dataclasses import dataclass
from pathlib import Path

RECORDED_FOLDER = "recorded"  # of a release's data, in which users' rows are
DRIFT_SUFFIX = ".drift"  # of the file beside a trained model
QUALITY_FOLDER = "quality.data"  # of a live release's own evaluate on recorded rows
EXPORT_NAME = "repository"  # what is exported of a repository whose model lies in one of its folders


def find_export(source: Path) -> Path:
    """Return the folder with all files that were exported with a release's source: itself, or around it.

    `source` is `HomeLayout.source_path`, not resolved: of a resolved one, nothing around it is returned.
    """
    return source.with_name(EXPORT_NAME) if source.is_symlink() else source


@dataclass(frozen=True)
class HomeLayout:
    """The paths in `SLIPWAY_HOME`; all but the artifacts can be rebuilt from Postgres, git and the index."""

    root: Path

    def repository_path(self, model: str) -> Path:
        """Return the bare clone of a model's repository."""
        return self.root / "repositories" / f"{model}.git"

    def merge_repository_path(self, model: str) -> Path:
        """Return the bare clone in which pull requests are merged, with all history; no release needs it."""
        return self.root / "repositories" / f"{model}@checks.git"

    def environment_path(self, key: str) -> Path:
        return self.root / "environments" / key

    @property
    def locks(self) -> Path:
        """Locked requirements, by the text of the requirements they were resolved from."""
        return self.root / "locks"

    @property
    def package_cache(self) -> Path:
        """The cache of uv that all models share: no code of a package writes it."""
        return self.root / "cache/packages"

    def model_package_cache(self, model: str) -> Path:
        """Return the cache of uv for packages that have to be built: their code writes it."""
        return self.root / "cache" / f"packages-{model}"

    @property
    def prune_log(self) -> Path:
        """The log of the last pruning of uv's caches; its modification time is when that was."""
        return self.root / "cache" / "pruned.log"

    @property
    def pythons(self) -> Path:
        """Interpreters that uv has downloaded."""
        return self.root / "pythons"

    @property
    def data_cache(self) -> Path:
        """Downloaded training and test data; shared between models."""
        return self.root / "data-cache"

    def artifact_path(self, isolation: str, release: int) -> Path:
        """Return the trained model of a release, as its `train` produced it; see `Release.isolation`."""
        return self.root / "artifacts" / isolation / str(release)

    def drift_baseline_path(self, isolation: str, release: int) -> Path:
        """Return what the drift of a release is measured against; it lies beside its trained model."""
        return self.root / "artifacts" / isolation / f"{release}{DRIFT_SUFFIX}"

    def drift_thresholds_path(self, release: int) -> Path:
        """Return the thresholds of that baseline, which can be made again."""
        return self.release_path(release) / "drift-thresholds"

    @property
    def monitor_lock(self) -> Path:
        """The file that is locked while the monitor measures."""
        return self.root / "monitor.lock"

    @property
    def project_boundary(self) -> Path:
        """The empty pyproject.toml that ends uv's search for a workspace above a repository.

        Without it uv goes on to the root of the disk, and stops at a file that the sandbox closes to it: as
        ours, where this folder lies in a clone of Slipway (https://github.com/astral-sh/uv/issues/18197).
        """
        return self.root / "releases/pyproject.toml"

    def release_path(self, release: int) -> Path:
        """Return the folder where a release is built and later runs: source tree, stage outputs, logs."""
        return self.root / "releases" / str(release)

    def source_path(self, release: int) -> Path:
        """Return the folder of the model's files; where it is one of its repository, a link into that."""
        return self.release_path(release) / "source"

    def scored(self, release: int) -> Path:
        """Return the results of `evaluate`: metrics, description, and a row to try a prediction with."""
        return self.release_path(release) / "evaluate/scored.json"

    def list_comparisons(self) -> list[Path]:
        """Return folders of builders with requests that users sent, of all releases."""
        releases = self.root / "releases"
        return [*releases.glob("*/differences-*"), *releases.glob("*/check-*/differences-*")]

    def list_recorded_data(self) -> list[Path]:
        """Return folders with recorded requests that releases are trained on or judged by."""
        folders = ("data", "data.new", "*.data", "*.data.new")  # never of a repository, in `source`
        found = [(self.root / "releases").glob(f"*/{folder}/{RECORDED_FOLDER}") for folder in folders]
        return [path for paths in found for path in paths]

    def list_scored(self) -> list[int]:
        """Return the releases whose own evaluate has recorded rows in files, or has left some."""
        return [self.find_release(path) for path in (self.root / "releases").glob(f"*/{QUALITY_FOLDER}")]

    def find_release(self, path: Path) -> int:
        """Return the release that a path below its folder belongs to."""
        return int(path.relative_to(self.root / "releases").parts[0])

    def logs_path(self, release: int) -> Path:
        return self.release_path(release) / "logs"

    def log_path(self, release: int, stage: str) -> Path:
        return self.logs_path(release) / f"{stage}.log"

    @property
    def unfollowed(self) -> Path:
        """A file for each model that is followed no more; its modification time is since when."""
        return self.root / "unfollowed"

    @property
    def tracking(self) -> Path:
        """The staging folder for uploads to MLflow."""
        return self.root / "tracking"

    @property
    def record_key(self) -> Path:
        """The key of the request log: of its ids, of what is sampled, and of hashed fields."""
        return self.root / "record.key"

    @property
    def former_code_key(self) -> Path:
        """The key from which the MLflow passwords of model code were once derived; no longer used."""
        return self.root / "mlflow-code.key"

    def tracking_lock(self, model: str) -> Path:
        """Return the file that is locked while the MLflow password of a model's code is changed."""
        return self.root / "mlflow-locks" / f"{model}.lock"

    def scratch_path(self, release: int) -> Path:
        """Return HOME and TMPDIR of the model's code."""
        return self.release_path(release) / "scratch"

    def preview_scratch(self, release: int) -> Path:
        """Return the same for its preview, which leaves nothing there: it may be sent recorded requests."""
        return self.release_path(release) / "preview-scratch"

    def preview_lock(self, release: int) -> Path:
        """Return the file that is locked while a preview of the release runs."""
        return self.release_path(release) / "preview.lock"

    def isolation_lock(self, isolation: str) -> Path:
        """Return the file that is locked while a preview runs as this user; see `Release.isolation`."""
        return self.root / "preview-locks" / f"{isolation}.lock"
