"""The settings of `watch`, its builders and `serve`: read once, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from common.allowed_addresses import AddressPolicy
from common.auth.access import AccessSettings
from common.models_file import ModelEntry, SourceSettings, format_errors
from common.repository_path import list_outermost
from common.units import Size
from db.checks import Trust
from db.models import Release
from ml.data_folders import SHARED_FOLDER, DataFolders
from ml.manifest import Gate, Resources
from ml.record_section import RecordSection
from ml.retrain_section import RetrainSection, load_stored
from ml.section import Section


class ChecksSection(Section):
    """The operator's settings for checks of pull requests; ids are GitHub's numbers of accounts.

    A fork is built without approval when its author and its owner are trusted.
    """

    on: bool = True
    trust_authors: tuple[int, ...] = ()
    trust_owners: tuple[int, ...] = ()
    show_rows: bool = True  # whether a check or a preview may be sent what users sent

    @property
    def trust(self) -> Trust:
        return Trust(self.trust_authors, self.trust_owners)


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of one served model: one branch of one git repository, under a name."""

    name: str
    repository: str  # owner/name on GitHub, else its host and path
    clone_url: str
    branch: str
    operator_gate: Gate = field(default_factory=Gate)  # overrides the repository's, key by key
    resources: Resources = field(default_factory=Resources)  # the operator's; they override in the same way
    has_pull_requests: bool = True  # else it is not on GitHub, and each push to the branch counts
    checks: ChecksSection = field(default_factory=ChecksSection)
    retrain: RetrainSection = field(default_factory=RetrainSection)  # the operator's; it overrides likewise
    operator_record: RecordSection = field(default_factory=RecordSection)  # overrides in the same way
    isolation: str = ""  # the name by which its code is kept apart from other code, where it is another one
    path: str = ""  # the folder of the repository that it lies in; empty: the repository
    paths: tuple[str, ...] = ()  # what else of the repository it uses; only with a path

    @property
    def is_whole_repository(self) -> bool:
        """Return whether every change of its branch is one of the model."""
        return not self.path

    @property
    def folders(self) -> tuple[str, ...]:
        """The parts of the repository that its releases are made of; none: the whole repository."""
        return list_outermost((self.path, *self.paths)) if self.path else ()

    def for_release(self, release: Release) -> "ModelConfig":
        """Return the same with the code of a check kept apart, and the paths that it was built with."""
        if release.path is None:  # it is not checked out yet
            return replace(self, isolation=release.isolation)
        paths = tuple(release.paths or ())
        return replace(self, isolation=release.isolation, path=release.path, paths=paths)

    def find_retrain(self, stored: Mapping[str, Any] | None) -> RetrainSection:
        """Return the section [retrain] that is followed, from that stored with the live release."""
        return self.retrain.with_defaults(load_stored(stored))

    def may_show_requests(self, release: Release) -> bool:
        """Return whether a release may be sent what users sent: no fork's, and none where that is off."""
        return self.checks.show_rows is True and release.is_fork is False


class OperatorOverrides(Section):
    """The sections of the models file by which an operator overrides a model's manifest."""

    gate: Gate = Gate()
    resources: Resources = Resources()
    checks: ChecksSection = ChecksSection()
    retrain: RetrainSection = RetrainSection()
    record: RecordSection = RecordSection()


def check_hosts(text: str) -> str:
    try:
        AddressPolicy.from_text(text)
    except ValueError as error:
        raise ValueError(
            f"has to be hosts, addresses and networks, as minio.internal, 10.1.0.0/16: {error}"
        ) from error
    return text


class MlSettings(SourceSettings, AccessSettings):
    """The settings of the service; times are in seconds, names and defaults as in docs/configuration.md."""

    database_url: str
    github_token: str = Field("", repr=False)
    github_api_url: str = "https://api.github.com"
    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    data: Path | None = Field(None, validation_alias="SLIPWAY_DATA")
    # bytes of one file
    data_limit: Size = Field(10 << 30, validation_alias="SLIPWAY_DATA_LIMIT", validate_default=False)
    # of one data set, in one build
    data_timeout: float = Field(3600, validation_alias="SLIPWAY_DATA_TIMEOUT", gt=0)
    # between two requests of whether the data of a model that retrains on new data has changed
    data_seconds: float = Field(900, validation_alias="SLIPWAY_DATA_SECONDS", gt=0)
    data_allow: Annotated[str, AfterValidator(check_hosts)] = Field("", validation_alias="SLIPWAY_DATA_ALLOW")
    ml_port: int = 8000
    vcs_port: int = 8080  # only to report where a sync can be requested
    poll_seconds: float = Field(15, validation_alias="SLIPWAY_POLL_SECONDS", gt=0)
    builds: int = Field(1, validation_alias="SLIPWAY_BUILDS", ge=1)
    workers: int = Field(1, validation_alias="SLIPWAY_WORKERS", ge=1)
    load_timeout: float = Field(120, validation_alias="SLIPWAY_LOAD_TIMEOUT", gt=0)
    predict_timeout: float = Field(30, validation_alias="SLIPWAY_PREDICT_TIMEOUT", gt=0)
    keep: int = Field(10, validation_alias="SLIPWAY_KEEP", ge=2)  # artifacts a model
    train_timeout: float = Field(3600, validation_alias="SLIPWAY_TRAIN_TIMEOUT", gt=0)
    evaluate_timeout: float = Field(600, validation_alias="SLIPWAY_EVALUATE_TIMEOUT", gt=0)
    test_timeout: float = Field(600, validation_alias="SLIPWAY_TEST_TIMEOUT", gt=0)
    memory: Size | None = Field(None, validation_alias="SLIPWAY_MEMORY")  # per model; default: 3/4 of all
    # bytes of one file that a model writes
    file_size: Size = Field(16 << 30, validation_alias="SLIPWAY_FILE_SIZE", validate_default=False)
    ports: str = Field("443", validation_alias="SLIPWAY_TRAIN_PORTS", pattern=r"^(none|\d{1,5}(,\d{1,5})*)$")
    # empty: nothing is exported to MLflow
    tracking_uri: str = Field("", validation_alias="MLFLOW_TRACKING_URI")
    tracking_username: str = Field("", validation_alias="MLFLOW_TRACKING_USERNAME")
    tracking_password: str = Field("", validation_alias="MLFLOW_TRACKING_PASSWORD", repr=False)
    tracking_token: str = Field("", validation_alias="MLFLOW_TRACKING_TOKEN", repr=False)
    # where the appliance's own MLflow server writes its password
    tracking_password_path: Path | None = Field(None, validation_alias="MLFLOW_PASSWORD_PATH")
    checks: Literal["on", "off"] = Field("on", validation_alias="SLIPWAY_CHECKS")
    record: bool = Field(True, validation_alias="SLIPWAY_RECORD")
    record_days: int = Field(30, validation_alias="SLIPWAY_RECORD_DAYS", ge=1, le=366)
    record_bytes: Size = Field(5 << 30, validation_alias="SLIPWAY_RECORD_BYTES", validate_default=False)
    record_rows: int = Field(200, validation_alias="SLIPWAY_RECORD_ROWS", ge=1)  # a second, of a model
    monitor: bool = Field(True, validation_alias="SLIPWAY_MONITOR")
    # between two measurements of what is live
    monitor_seconds: float = Field(900, validation_alias="SLIPWAY_MONITOR_SECONDS", gt=0)
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    def list_models(self) -> list[ModelConfig]:
        """Return the models that this appliance serves; empty when none is configured."""
        return list(self._models)

    @cached_property
    def _models(self) -> tuple[ModelConfig, ...]:
        return tuple(self._to_model_config(name, followed) for name, followed in self.model_entries.items())

    def _to_model_config(self, name: str, followed: ModelEntry) -> ModelConfig:
        try:
            overrides = OperatorOverrides.model_validate(
                {
                    "gate": followed.gate,
                    "resources": followed.resources,
                    "checks": followed.checks,
                    "retrain": followed.retrain,
                    "record": followed.record,
                }
            )
        except ValidationError as error:
            raise SystemExit(f"{self.models_file}: in [{name}]: {format_errors(error)}") from error
        git = followed.git_address
        url = followed.clone_url or git or f"https://github.com/{followed.repository}.git"
        return ModelConfig(
            name,
            followed.name,
            url,
            followed.branch,
            overrides.gate,
            overrides.resources,
            not git,
            overrides.checks if self.checks == "on" else overrides.checks.model_copy(update={"on": False}),
            overrides.retrain,
            overrides.record,
            path=followed.path,
            paths=tuple(followed.paths),
        )

    @property
    def train_ports(self) -> tuple[int, ...]:
        """TCP ports that a training may connect to, on any host."""
        return tuple(int(port) for port in self.ports.split(",") if port != "none")

    @property
    def github_host(self) -> str:
        """The host that the token is for, with its port: `github.com` of `https://api.github.com`."""
        netloc = urlsplit(self.github_api_url).netloc.rpartition("@")[2].lower()
        return (netloc or "github.com").removeprefix("api.")

    @property
    def data_folder(self) -> Path:
        """The folder that holds data sets on the appliance."""
        return (self.data or self.home / "data").absolute()

    def may_train_on_recorded(self, model: str) -> bool:
        """Return whether the operator lets a model be trained on what its users sent."""
        return model in self.model_entries and self.model_entries[model].recorded

    def data_folders(self, model: str) -> DataFolders:
        """Return the folders that a model's data may lie in.

        With one model, that is every folder; of several, each has its own, a shared one, and those that the
        operator grants.
        """
        whole, own = self.data_folder, self.data_folder / model
        if len(self.model_entries) == 1:
            return DataFolders(whole, own, (whole, own))
        granted = self.model_entries[model].data if model in self.model_entries else []
        # else that folder belongs to the model of this name
        shared = [SHARED_FOLDER] if SHARED_FOLDER not in self.model_entries else []
        return DataFolders(whole, own, (own, *(whole / name for name in [*shared, *granted])))
