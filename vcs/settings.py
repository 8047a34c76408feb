"""The settings of vcs: repositories, addresses of GitHub and the database, intervals."""

from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from common.auth.access import AccessSettings
from common.models_file import SourceSettings
from common.settings import Settings
from common.system.pinned_venv import shared_folder

GITHUB_API_URL = "https://api.github.com"
SINGER_RESOURCES = Path(__file__).parents[1] / "resources" / "singer"
# of its two environments, which cannot be one: `jsonschema` 2 against 4
REQUIREMENTS = {part: SINGER_RESOURCES / f"{part}.txt" for part in ("tap", "target")}


class SingerInstallSettings(Settings):
    """The settings that the installation of Singer's two environments needs."""

    singer: Path | None = Field(None, validation_alias="SLIPWAY_SINGER")
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    @property
    def singer_home(self) -> Path:
        return (self.singer or shared_folder("singer", list(REQUIREMENTS.values()))).absolute()


class VcsSettings(SingerInstallSettings, SourceSettings, AccessSettings):
    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    demo: bool = Field(False, validation_alias="SLIPWAY_DEMO")
    github_token: SecretStr = SecretStr("")
    # of a GitHub App, in place of the token; the key is a file alone, and never in an environment
    github_app_id: int | None = Field(None, ge=1)
    github_app_key_file: Path | None = None
    github_api_url: str = GITHUB_API_URL
    webhook_secret: SecretStr = Field(SecretStr(""), validation_alias="SLIPWAY_WEBHOOK_SECRET")
    database_url: SecretStr
    sync_seconds: float = Field(60, ge=0, validation_alias="SLIPWAY_SYNC_SECONDS")
    sync_timeout: float = Field(1800, gt=0, validation_alias="SLIPWAY_SYNC_TIMEOUT")
    port: int = Field(8080, validation_alias="VCS_PORT")
    # the appliance's address for people, for links on GitHub; none: without links
    public_url: str = Field("", validation_alias="SLIPWAY_PUBLIC_URL")
    ml_port: int = 8000  # only for links to the operators' sign-in

    @field_validator("github_api_url")
    @classmethod
    def strip_trailing_slash(cls, url: str) -> str:
        return url.rstrip("/")

    @field_validator("public_url")
    @classmethod
    def check_public_url(cls, url: str) -> str:
        """Return the address without the slash at its end."""
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("set it to an address that begins with https:// or http://")
        return url.rstrip("/")

    @model_validator(mode="after")
    def check_app(self) -> Self:
        """Check that the App has both its id and its key."""
        if (self.github_app_id is None) != (self.github_app_key_file is None):
            raise ValueError("set both GITHUB_APP_ID and GITHUB_APP_KEY_FILE, or none of them")
        return self

    @property
    def github_repositories(self) -> list[str]:
        """Return the followed repositories that are on GitHub."""
        return [name for name in self.branches if name not in self.git_addresses]

    @cached_property
    def branches(self) -> dict[str, list[str]]:
        """Return each followed repository, with the branches of its models."""
        found: dict[str, list[str]] = {}
        for followed in self.model_entries.values():
            branches = found.setdefault(followed.name, [])
            branches += [followed.branch] if followed.branch not in branches else []
        return found

    @cached_property
    def git_addresses(self) -> dict[str, str]:
        """Return git's address of each repository that is not on GitHub."""
        every = self.model_entries.values()
        return {followed.name: followed.git_address for followed in every if followed.git_address}

    def clone_path(self, repository: str) -> Path:
        """Return the folder with the commits of a repository that is not on GitHub."""
        return self.home.absolute() / "commits" / f"{repository.replace('/', '--')}.git"

    @property
    def secrets(self) -> list[str]:
        """Return the values that must never appear in a log or a response."""
        found = [self.github_token, self.webhook_secret, self.database_url]
        urls = [urlsplit(address) for address in self.git_addresses.values()]
        logins = [url.password or (url.username if url.scheme != "ssh" else None) for url in urls]
        return [*filter(None, [*(secret.get_secret_value() for secret in found), *logins])]
