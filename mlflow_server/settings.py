"""The settings of the MLflow server: state, database, address, allowed hosts."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from common.settings import DatabaseName, Settings
from common.system.pinned_venv import shared_folder

REQUIREMENTS = Path(__file__).parents[1] / "resources" / "mlflow" / "requirements.txt"
PRIVATE_NETWORKS = ("10.*", "192.168.*", *(f"172.{number}.*" for number in range(16, 32)))


class MlflowInstallSettings(Settings):
    """The settings that the installation of its virtual environment needs."""

    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    installed: Path | None = Field(None, validation_alias="SLIPWAY_MLFLOW")
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    @property
    def folder(self) -> Path:
        """Return the folder of passwords and artifacts."""
        return self.home.absolute() / "mlflow"

    @property
    def venv_folder(self) -> Path:
        return (self.installed or shared_folder("mlflow", [REQUIREMENTS]) / "environment").absolute()


class MlflowServerSettings(MlflowInstallSettings):
    database_url: SecretStr
    database: DatabaseName = Field("mlflow", validation_alias="MLFLOW_DATABASE")
    artifacts: str = Field("", validation_alias="MLFLOW_ARTIFACTS")
    bind: str = Field("127.0.0.1", validation_alias="SLIPWAY_BIND")
    port: int = Field(5000, ge=1, le=65535, validation_alias="MLFLOW_PORT")
    hosts: str = Field("", validation_alias="MLFLOW_HOSTS")  # more names that requests may use for it

    @property
    def allowed_hosts(self) -> list[str]:
        """Return the hosts that requests may use, with and without a port; other names are refused."""
        bind = f"[{self.bind}]" if ":" in self.bind else self.bind
        private = PRIVATE_NETWORKS if self.bind in ("0.0.0.0", "::") else ()  # noqa: S104 (compared, not bound)
        more = [name.strip() for name in self.hosts.split(",") if name.strip()]
        names = dict.fromkeys(["localhost", "127.0.0.1", "[::1]", "mlflow", bind, *private, *more])
        return [form for name in names for form in (name, f"{name.replace('[', '[[]')}:*")]
