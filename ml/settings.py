"""The settings of `watch`, its builders and `serve`: read once, frozen."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from common.settings import Settings as Base
from common.token import PLAIN


@dataclass(frozen=True)
class Model:
    """A named thing that is served: one branch of one git repository."""

    name: str
    repository: str  # owner/name on GitHub
    clone_url: str
    branch: str


class Settings(Base):
    """Times are in seconds; names and defaults as in the README's table."""

    database_url: str
    repository: str = Field("", validation_alias="SLIPWAY_REPOSITORY", pattern=r"^$|^[\w.-]+/[\w.-]+$")
    branch: str = Field("main", validation_alias="SLIPWAY_BRANCH")
    clone_url: str = Field("", validation_alias="SLIPWAY_CLONE_URL")
    github_token: str = Field("", repr=False)
    github_api_url: str = "https://api.github.com"
    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    data: Path | None = Field(None, validation_alias="SLIPWAY_DATA")
    token: str = Field("", validation_alias="SLIPWAY_TOKEN", pattern=PLAIN, repr=False)  # none: one is made
    bind: str = Field("127.0.0.1", validation_alias="SLIPWAY_BIND")
    ml_port: int = 8000
    vcs_port: int = 8080  # only to say where a sync can be asked for
    poll_seconds: float = Field(15, validation_alias="SLIPWAY_POLL_SECONDS", gt=0)
    builds: int = Field(1, validation_alias="SLIPWAY_BUILDS", ge=1)
    workers: int = Field(1, validation_alias="SLIPWAY_WORKERS", ge=1)
    predict_timeout: float = Field(30, validation_alias="SLIPWAY_PREDICT_TIMEOUT", gt=0)
    keep: int = Field(10, validation_alias="SLIPWAY_KEEP", ge=2)  # artifacts a model
    train_timeout: float = Field(3600, validation_alias="SLIPWAY_TRAIN_TIMEOUT", gt=0)
    evaluate_timeout: float = Field(600, validation_alias="SLIPWAY_EVALUATE_TIMEOUT", gt=0)
    record: bool = Field(True, validation_alias="SLIPWAY_RECORD")
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    def models(self) -> list[Model]:
        """What this appliance serves; empty when no repository is named."""
        if not self.repository:
            return []
        url = self.clone_url or f"https://github.com/{self.repository}.git"
        return [Model(model_name(self.repository), self.repository, url, self.branch)]

    @property
    def github_host(self) -> str:
        """The host that the token is for: `github.com` of `https://api.github.com`."""
        return (urlsplit(self.github_api_url).hostname or "github.com").removeprefix("api.")

    def data_of(self, model: str) -> Path:
        """The folder that holds a model's data sets on the appliance."""
        return (self.data or self.home / "data").absolute() / model


def model_name(repository: str) -> str:
    """The repository's own name, in lower case, fit for addresses and folders."""
    return re.sub(r"[^a-z0-9._-]", "-", repository.rsplit("/", 1)[-1].lower()).strip(".") or "model"
