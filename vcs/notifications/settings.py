"""The settings of notifications: who is told, and where Apprise is installed."""

from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from common.allowed_addresses import AddressPolicy
from common.settings import Settings
from common.system.pinned_venv import shared_folder
from vcs.notifications.receivers import (
    AppriseAddress,
    Receiver,
    WebhookAddress,
    parse_addresses,
    parse_webhooks,
)

REQUIREMENTS = Path(__file__).parents[2] / "resources" / "notify" / "requirements.txt"


class AppriseInstallSettings(Settings):
    """The settings that the installation of Apprise's environment needs."""

    apprise: Path | None = Field(None, validation_alias="SLIPWAY_APPRISE")
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    @property
    def venv_folder(self) -> Path:
        return (self.apprise or shared_folder("notify", [REQUIREMENTS]) / "environment").absolute()


class NotificationSettings(AppriseInstallSettings):
    webhooks_text: SecretStr = Field(SecretStr(""), validation_alias="SLIPWAY_WEBHOOKS")
    addresses_text: SecretStr = Field(SecretStr(""), validation_alias="SLIPWAY_NOTIFY")
    allow: str = Field("", validation_alias="SLIPWAY_NOTIFY_ALLOW")
    public_url: str = Field("", validation_alias="SLIPWAY_PUBLIC_URL")

    @field_validator("allow")
    @classmethod
    def check_allow(cls, text: str) -> str:
        try:
            AddressPolicy.from_text(text)
        except ValueError as error:
            raise ValueError(f"has to be hosts, addresses and networks: {error}") from error
        return text

    @field_validator("public_url")
    @classmethod
    def drop_invalid_url(cls, url: str) -> str:
        """Return the address without the slash at its end; `VcsSettings` reports one that is none."""
        return url.rstrip("/") if urlsplit(url).scheme in ("http", "https") else ""

    @model_validator(mode="after")
    def check_receivers(self) -> Self:
        for setting, parse in (
            ("SLIPWAY_WEBHOOKS", lambda: self.webhooks),
            ("SLIPWAY_NOTIFY", lambda: self.addresses),
        ):
            try:
                parse()
            except ValueError as error:
                raise ValueError(f"{setting}: {error}") from None
        return self

    @property
    def allowed(self) -> AddressPolicy:
        return AddressPolicy.from_text(self.allow)

    @cached_property
    def webhooks(self) -> list[WebhookAddress]:
        return parse_webhooks(self.webhooks_text.get_secret_value(), self.allowed)

    @cached_property
    def addresses(self) -> list[AppriseAddress]:
        return parse_addresses(self.addresses_text.get_secret_value())

    @property
    def receivers(self) -> list[Receiver]:
        return [*self.webhooks, *self.addresses]
