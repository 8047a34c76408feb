"""Where MLflow is, how one signs in there, and what the model's own code may use of it."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from common import kept as secret
from ml.settings import Settings

SET_UP = "MLflow's server is being set up"
CODE = "model-"  # before a model's name: the user that its code signs in as


class Away(Exception):
    """MLflow cannot be told now; the text says why, in words for a person."""


@dataclass(frozen=True)
class Server:
    """An MLflow server. `password` and `token` are empty where it asks for none."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say, None: none is told. Raises `Away` while its password is not there yet."""
        if not settings.tracking_uri:
            return None
        parts = urlsplit(settings.tracking_uri.rstrip("/"))
        username = settings.tracking_username or unquote(parts.username or "")
        password = settings.tracking_password or unquote(parts.password or "")
        if not password and settings.tracking_password_path is not None:
            password = kept(settings.tracking_password_path)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[-1]).geturl()  # it stands in what we say
        return cls(url, username, password, settings.tracking_token)

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def variables(self) -> dict[str, str]:
        """What MLflow's own client reads."""
        return {"MLFLOW_TRACKING_URI": self.url} | {
            f"MLFLOW_TRACKING_{name.upper()}": value
            for name in ("username", "password", "token")
            if (value := getattr(self, name))
        }

    def of_code(self, model: str) -> "Server":
        """Return how the code of a model signs in, with a new password that the server has to be given."""
        return Server(self.url, CODE + model, secrets.token_urlsafe(32))


def kept(path: Path) -> str:
    """The password of the appliance's own server, which makes it at its first start."""
    try:
        found = secret.read(path)
    except OSError as error:
        raise Away(f"the password of MLflow in {path} cannot be read: {error.strerror}") from error
    if found is None:
        raise Away(SET_UP)
    return found
