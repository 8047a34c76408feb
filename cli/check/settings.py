"""The settings of a check, and the folder that it works in."""

import os
from pathlib import Path

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from cli.errors import UserError
from ml.settings import MlSettings

# what a check has none of
FIXED = {
    "database_url": "",
    "github_token": "",
    "SLIPWAY_REPOSITORY": "",
    "SLIPWAY_MODELS": os.devnull,
    "MLFLOW_TRACKING_URI": "",
    "SLIPWAY_MONITOR": "0",
}


class CheckSettings(MlSettings):
    """The settings of a builder from environment variables alone: a `.env` here may be the repository's."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the base class calls all by name)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings

    def may_train_on_recorded(self, _: str) -> bool:
        """Return True: nobody has to allow what is not here, and the stage `data` says that."""
        return True


def load_check_settings(tree: Path) -> CheckSettings:
    """Return the settings whose home is the folder `check` in SLIPWAY_HOME, else in the user's cache.

    It is apart from an appliance's own files. Raises `UserError` for a home within the working tree.
    """
    settings = CheckSettings.model_validate(FIXED)
    home = settings.home
    if "home" not in settings.model_fields_set:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-check"
    home = home.absolute().resolve()
    if home.is_relative_to(tree):
        raise UserError(f"{home} lies in the working tree: set SLIPWAY_HOME to a folder outside of it")
    data = settings.data or home / "data"
    return settings.model_copy(update={"home": home / "check", "data": data.absolute()})
