"""What the MLflow server is told: where its state and its database are, where it listens, for whom."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from common.settings import DatabaseName, Settings

PRIVATE = ("10.*", "192.168.*", *(f"172.{number}.*" for number in range(16, 32)))


class InstallSettings(Settings):
    """What making its virtual environment needs to know."""

    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    installed: Path | None = Field(None, validation_alias="SLIPWAY_MLFLOW")
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    @property
    def folder(self) -> Path:
        """Where passwords and artifacts are kept."""
        return self.home.absolute() / "mlflow"

    @property
    def environment(self) -> Path:
        return (self.installed or self.folder / "environment").absolute()


class TrackerSettings(InstallSettings):
    database_url: SecretStr
    database: DatabaseName = Field("mlflow", validation_alias="MLFLOW_DATABASE")
    artifacts: str = Field("", validation_alias="MLFLOW_ARTIFACTS")
    bind: str = Field("127.0.0.1", validation_alias="SLIPWAY_BIND")
    port: int = Field(5000, ge=1, le=65535, validation_alias="MLFLOW_PORT")
    hosts: str = Field("", validation_alias="MLFLOW_HOSTS")  # more names that it is called by

    @property
    def allowed_hosts(self) -> list[str]:
        """What a request may call this server by, with and without a port; other names are refused."""
        bind = f"[{self.bind}]" if ":" in self.bind else self.bind
        private = PRIVATE if self.bind in ("0.0.0.0", "::") else ()  # noqa: S104 (compared, not bound)
        more = [name.strip() for name in self.hosts.split(",") if name.strip()]
        names = dict.fromkeys(["localhost", "127.0.0.1", "[::1]", "mlflow", bind, *private, *more])
        return [form for name in names for form in (name, f"{name.replace('[', '[[]')}:*")]
