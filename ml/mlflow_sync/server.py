"""The address of MLflow, the login there, and the part of it that the model's own code may use."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from common.system import secret_file as secret
from ml.settings import MlSettings

STARTING_MESSAGE = "MLflow's server is being set up"
CODE_USER_PREFIX = "model-"  # before a model's name: the user that its code logs in as


class MlflowUnavailableError(Exception):
    """MLflow cannot be used now; the text is a sentence with the reason."""


@dataclass(frozen=True)
class MlflowServer:
    """An MLflow server. `password` and `token` are empty where it requires none."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def from_settings(cls, settings: MlSettings) -> Self | None:
        """Return the server in the settings; None when they name none.

        Raises `MlflowUnavailableError` while its password does not exist yet.
        """
        if not settings.tracking_uri:
            return None
        parts = urlsplit(settings.tracking_uri.rstrip("/"))
        username = settings.tracking_username or unquote(parts.username or "")
        password = settings.tracking_password or unquote(parts.password or "")
        if not password and settings.tracking_password_path is not None:
            password = read_password(settings.tracking_password_path)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[-1]).geturl()  # it appears in messages
        return cls(url, username, password, settings.tracking_token)

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def to_env(self) -> dict[str, str]:
        """Return the environment variables that MLflow's own client reads."""
        return {"MLFLOW_TRACKING_URI": self.url} | {
            f"MLFLOW_TRACKING_{name.upper()}": value
            for name in ("username", "password", "token")
            if (value := getattr(self, name))
        }

    def for_model_code(self, model: str) -> "MlflowServer":
        """Return the login of a model's code, with a new password that the server has to be given."""
        return MlflowServer(self.url, CODE_USER_PREFIX + model, secrets.token_urlsafe(32))


def read_password(path: Path) -> str:
    """Return the password of the appliance's own server, which creates it at its first start."""
    try:
        found = secret.read(path)
    except OSError as error:
        raise MlflowUnavailableError(
            f"the password of MLflow in {path} cannot be read: {error.strerror}"
        ) from error
    if found is None:
        raise MlflowUnavailableError(STARTING_MESSAGE)
    return found
