"""The settings of `watch`, its builders and `serve`: read once, frozen."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from common.following import Followed, Following, told
from common.reach import Reach
from ml.fetch.allowed import Allowed
from ml.fetch.local import SHARED, DataFolders
from ml.manifest import Gate, Resources, Section
from ml.quantities import Size


@dataclass(frozen=True)
class Model:
    """A named thing that is served: one branch of one git repository."""

    name: str
    repository: str  # owner/name on GitHub
    clone_url: str
    branch: str
    operator_gate: Gate = field(default_factory=Gate)  # wins over the repository's, key by key
    resources: Resources = field(default_factory=Resources)  # the operator's; they win in the same way


class Said(Section):
    """What an operator may say of a model beside what it is."""

    gate: Gate = Gate()
    resources: Resources = Resources()


def hosts(text: str) -> str:
    try:
        Allowed.read(text)
    except ValueError as error:
        raise ValueError(
            f"has to be hosts, addresses and networks, as minio.internal, 10.1.0.0/16: {error}"
        ) from error
    return text


class Settings(Following, Reach):
    """Times are in seconds; names and defaults as in the README's table."""

    database_url: str
    github_token: str = Field("", repr=False)
    github_api_url: str = "https://api.github.com"
    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    data: Path | None = Field(None, validation_alias="SLIPWAY_DATA")
    # of one file
    data_limit: Size = Field(10 << 30, validation_alias="SLIPWAY_DATA_LIMIT", validate_default=False)
    data_timeout: float = Field(3600, validation_alias="SLIPWAY_DATA_TIMEOUT", gt=0)  # of one, in one build
    data_allow: Annotated[str, AfterValidator(hosts)] = Field("", validation_alias="SLIPWAY_DATA_ALLOW")
    ml_port: int = 8000
    vcs_port: int = 8080  # only to say where a sync can be asked for
    poll_seconds: float = Field(15, validation_alias="SLIPWAY_POLL_SECONDS", gt=0)
    builds: int = Field(1, validation_alias="SLIPWAY_BUILDS", ge=1)
    workers: int = Field(1, validation_alias="SLIPWAY_WORKERS", ge=1)
    load_timeout: float = Field(120, validation_alias="SLIPWAY_LOAD_TIMEOUT", gt=0)
    predict_timeout: float = Field(30, validation_alias="SLIPWAY_PREDICT_TIMEOUT", gt=0)
    keep: int = Field(10, validation_alias="SLIPWAY_KEEP", ge=2)  # artifacts a model
    train_timeout: float = Field(3600, validation_alias="SLIPWAY_TRAIN_TIMEOUT", gt=0)
    evaluate_timeout: float = Field(600, validation_alias="SLIPWAY_EVALUATE_TIMEOUT", gt=0)
    memory: Size | None = Field(None, validation_alias="SLIPWAY_MEMORY")  # a model's; none: 3/4 of all
    # of one file that a model writes
    file_size: Size = Field(16 << 30, validation_alias="SLIPWAY_FILE_SIZE", validate_default=False)
    ports: str = Field("443", validation_alias="SLIPWAY_TRAIN_PORTS", pattern=r"^(none|\d{1,5}(,\d{1,5})*)$")
    tracking_uri: str = Field("", validation_alias="MLFLOW_TRACKING_URI")  # none: MLflow is not told
    tracking_username: str = Field("", validation_alias="MLFLOW_TRACKING_USERNAME")
    tracking_password: str = Field("", validation_alias="MLFLOW_TRACKING_PASSWORD", repr=False)
    tracking_token: str = Field("", validation_alias="MLFLOW_TRACKING_TOKEN", repr=False)
    # where the password of the appliance's own server will be
    tracking_password_path: Path | None = Field(None, validation_alias="MLFLOW_PASSWORD_PATH")
    record: bool = Field(True, validation_alias="SLIPWAY_RECORD")
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    def models(self) -> list[Model]:
        """What this appliance serves; empty when nothing is named."""
        return list(self._models)

    @cached_property
    def _models(self) -> tuple[Model, ...]:
        return tuple(self._model(name, followed) for name, followed in self.followed.items())

    def _model(self, name: str, followed: Followed) -> Model:
        try:
            said = Said.model_validate({"gate": followed.gate, "resources": followed.resources})
        except ValidationError as error:
            raise SystemExit(f"{self.models_file}: in [{name}]: {told(error)}") from error
        url = followed.clone_url or f"https://github.com/{followed.repository}.git"
        return Model(name, followed.repository, url, followed.branch, said.gate, said.resources)

    @property
    def train_ports(self) -> tuple[int, ...]:
        """TCP ports that a training may connect to, wherever they are."""
        return tuple(int(port) for port in self.ports.split(",") if port != "none")

    @property
    def github_host(self) -> str:
        """The host that the token is for: `github.com` of `https://api.github.com`."""
        return (urlsplit(self.github_api_url).hostname or "github.com").removeprefix("api.")

    @property
    def data_folder(self) -> Path:
        """The folder that holds data sets on the appliance."""
        return (self.data or self.home / "data").absolute()

    def data_folders(self, model: str) -> DataFolders:
        """The folders that a model's data may lie in.

        All of them where there is one model; of several, each has its own, a shared one, and what the
        operator grants.
        """
        whole, own = self.data_folder, self.data_folder / model
        if len(self.followed) == 1:
            return DataFolders(whole, own, (whole, own))
        granted = self.followed[model].data if model in self.followed else []
        shared = [SHARED] if SHARED not in self.followed else []  # else it is that model's own
        return DataFolders(whole, own, (own, *(whole / name for name in [*shared, *granted])))
