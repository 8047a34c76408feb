"""Settings of the command line: the appliance's folder, its ports, and the models it follows."""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import Field

from cli import address
from common.auth.operator_token import ALLOWED_CHARS
from common.models_file import SourceSettings


class CliSettings(SourceSettings):
    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    bind: str = Field("127.0.0.1", validation_alias="SLIPWAY_BIND")
    vcs_port: int = Field(8080, ge=1, le=65535)
    ml_port: int = Field(8000, ge=1, le=65535)
    mlflow_port: int = Field(5000, ge=1, le=65535)
    demo_port: int | None = Field(None, ge=1, le=65535)  # None: any that is free
    tracking_uri: str = Field("", validation_alias="MLFLOW_TRACKING_URI", repr=False)
    token: str = Field("", validation_alias="SLIPWAY_TOKEN", pattern=ALLOWED_CHARS, repr=False)
    database_url: str = Field("", repr=False)
    url: str = Field("", validation_alias="SLIPWAY_URL")
    vcs: str = Field("", validation_alias="SLIPWAY_VCS_URL")

    @property
    def host(self) -> str:
        """Return the appliance's host for calls from this machine, as it is written in a URL."""
        host = "127.0.0.1" if self.bind in ("0.0.0.0", "::") else self.bind  # noqa: S104 (compared, not bound)
        return f"[{host}]" if ":" in host else host

    @property
    def service_addresses(self) -> dict[str, str]:
        """Return the addresses of an appliance with these settings."""
        ports = {"serve": self.ml_port, "vcs": self.vcs_port}
        return {name: f"http://{self.host}:{port}" for name, port in ports.items()}

    @property
    def vcs_url(self) -> str:
        return self.vcs.rstrip("/") or self.find_address("vcs", "vcs_port")

    @property
    def serve_url(self) -> str:
        """Return the address for commands: SLIPWAY_URL, else a port that is set, else the stored one."""
        return self.url.rstrip("/") or self.find_address("serve", "ml_port")

    def find_address(self, service: str, port: str) -> str:
        running = {} if port in self.model_fields_set else address.find(self.home)
        return running.get(service) or self.service_addresses[service]

    @property
    def has_local_mlflow(self) -> bool:
        """Return whether the appliance runs an MLflow server; MLFLOW_TRACKING_URI set to nothing: none."""
        return not self.tracking_uri and "MLFLOW_TRACKING_URI" not in os.environ | dotenv_values(".env")

    @property
    def mlflow_url(self) -> str:
        """Return MLflow's address, without a password that it may contain; empty when there is none."""
        if self.has_local_mlflow:
            return f"http://{self.host}:{self.mlflow_port}"
        parts = urlsplit(self.tracking_uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
