"""The settings of previews; names and defaults as in docs/configuration.md."""

from pydantic import Field

from common.settings import Settings
from common.units import Size

MAX_IDLE_SECONDS = 7 * 86400


class PreviewSettings(Settings):
    """The switch of previews, the bytes that one may hold, and the seconds that it stays without use."""

    enabled: bool = Field(True, validation_alias="SLIPWAY_PREVIEW")
    memory: Size = Field(1 << 30, validation_alias="SLIPWAY_PREVIEW_MEMORY", validate_default=False)
    idle: float = Field(600, validation_alias="SLIPWAY_PREVIEW_IDLE", gt=0, le=MAX_IDLE_SECONDS)
