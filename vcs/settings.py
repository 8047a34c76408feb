"""What vcs is told: whose pull requests, where GitHub and the database are, how often."""

import re
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from common.following import Following
from common.reach import Reach
from common.settings import Settings

GITHUB = "https://api.github.com"


class InstallSettings(Settings):
    """What making Singer's two environments needs to know."""

    home: Path = Field(Path(".slipway"), validation_alias="SLIPWAY_HOME")
    singer: Path | None = Field(None, validation_alias="SLIPWAY_SINGER")
    log: Literal["text", "json"] = Field("text", validation_alias="SLIPWAY_LOG")

    @property
    def singer_home(self) -> Path:
        return (self.singer or self.home / "singer").absolute()


class VcsSettings(InstallSettings, Following, Reach):
    repository: str = Field("", validation_alias="SLIPWAY_REPOSITORY")
    demo: bool = Field(False, validation_alias="SLIPWAY_DEMO")
    github_token: SecretStr = SecretStr("")
    github_api_url: str = GITHUB
    webhook_secret: SecretStr = Field(SecretStr(""), validation_alias="SLIPWAY_WEBHOOK_SECRET")
    database_url: SecretStr
    sync_seconds: float = Field(60, ge=0, validation_alias="SLIPWAY_SYNC_SECONDS")
    sync_timeout: float = Field(1800, gt=0, validation_alias="SLIPWAY_SYNC_TIMEOUT")
    port: int = Field(8080, validation_alias="VCS_PORT")
    ml_port: int = 8000  # only to say where operators sign in

    @field_validator("repository")
    @classmethod
    def owner_and_name(cls, repository: str) -> str:
        """Anything else would become a path of GitHub's API that means something else."""
        if repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise ValueError(f"must be owner/name as in https://github.com/owner/name, not {repository!r}")
        return repository

    @field_validator("github_api_url")
    @classmethod
    def no_slash_at_the_end(cls, url: str) -> str:
        return url.rstrip("/")

    @cached_property
    def branches(self) -> dict[str, list[str]]:
        """Each repository that is followed, with the branches that its models are on."""
        found: dict[str, list[str]] = {}
        for followed in self.followed.values():
            branches = found.setdefault(followed.repository, [])
            branches += [followed.branch] if followed.branch not in branches else []
        return found

    @property
    def secrets(self) -> list[str]:
        """What must never stand in a log or an answer."""
        found = [self.github_token, self.webhook_secret, self.database_url]
        return [secret.get_secret_value() for secret in found if secret.get_secret_value()]
