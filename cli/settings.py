"""What the command line is told: where the appliance lives, on which ports, and what it follows."""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import Field

from common.following import Following
from common.token import PLAIN


class Settings(Following):
    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    bind: str = Field("127.0.0.1", validation_alias="SLIPWAY_BIND")
    vcs_port: int = Field(8080, ge=1, le=65535)
    ml_port: int = Field(8000, ge=1, le=65535)
    mlflow_port: int = Field(5000, ge=1, le=65535)
    tracking_uri: str = Field("", validation_alias="MLFLOW_TRACKING_URI", repr=False)
    token: str = Field("", validation_alias="SLIPWAY_TOKEN", pattern=PLAIN, repr=False)
    database_url: str = Field("", repr=False)
    url: str = Field("", validation_alias="SLIPWAY_URL")
    vcs: str = Field("", validation_alias="SLIPWAY_VCS_URL")

    @property
    def host(self) -> str:
        """Where to call the appliance from this machine, as it stands in an address."""
        host = "127.0.0.1" if self.bind in ("0.0.0.0", "::") else self.bind  # noqa: S104 (compared, not bound)
        return f"[{host}]" if ":" in host else host

    @property
    def vcs_url(self) -> str:
        return self.vcs.rstrip("/") or f"http://{self.host}:{self.vcs_port}"

    @property
    def serve_url(self) -> str:
        return self.url.rstrip("/") or f"http://{self.host}:{self.ml_port}"

    @property
    def own_mlflow(self) -> bool:
        """Whether the appliance has an MLflow server; MLFLOW_TRACKING_URI set to nothing means none."""
        return not self.tracking_uri and "MLFLOW_TRACKING_URI" not in os.environ | dotenv_values(".env")

    @property
    def mlflow_url(self) -> str:
        """Where MLflow is, without a password that may stand in the address; empty when there is none."""
        if self.own_mlflow:
            return f"http://{self.host}:{self.mlflow_port}"
        parts = urlsplit(self.tracking_uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
