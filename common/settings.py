"""Settings from the environment or `.env`; each name also as `NAME_FILE` with a path to the value."""

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

DatabaseName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,50}$")]  # MLflow's, and its role's


class FileSettingsSource(PydanticBaseSettingsSource):
    """A settings source for `NAME_FILE`: Docker secrets and systemd credentials pass secrets as files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = f"{field.validation_alias or field_name}_FILE".upper()
        path = os.environ.get(name) or dotenv_values(".env").get(name)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text().strip(), field_name, False
        except OSError as error:
            raise SystemExit(f"{name} names {path}, which cannot be read: {error.strerror}") from error

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                found[str(field.validation_alias or name)] = value
        return found


class Settings(BaseSettings):
    """The base of each service's settings: read once, frozen, an empty value counts as not set.

    A field `x` is read from `X`; give it `validation_alias="SLIPWAY_X"` for another name.
    """

    # no `populate_by_name`: a field `home` under the name SLIPWAY_HOME would be read from HOME too
    model_config = SettingsConfigDict(
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # the invalid value may be a secret
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the base class calls it by name)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, FileSettingsSource(settings_cls), env_settings, dotenv_settings


SomeSettings = TypeVar("SomeSettings", bound=Settings)


def load_settings(kind: type[SomeSettings]) -> SomeSettings:
    """Return a service's settings; exit with one line when they are invalid."""
    try:
        return kind()
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise SystemExit("; ".join(wrong)) from error
