"""The settings of the monitor's virtual environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from common.settings import Settings
from common.system.pinned_venv import shared_folder

REQUIREMENTS = Path(__file__).parents[2] / "resources" / "monitor" / "requirements.txt"


class MonitorInstallSettings(Settings):
    """The settings that the installation of its virtual environment needs."""

    installed: Path | None = Field(None, validation_alias="SLIPWAY_MONITOR_ENVIRONMENT")
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    @property
    def venv_folder(self) -> Path:
        return (self.installed or shared_folder("monitor", [REQUIREMENTS]) / "environment").absolute()
