"""The private key of the GitHub App, and the JSON web tokens that it signs.

https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
"""

from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from loguru import logger

from vcs.github_app.access import KeyFileError

BACKDATED_SECONDS = 60  # GitHub's advice, against clocks that differ
VALID_SECONDS = 540  # GitHub takes at most 600 from its own now on
MAX_KEY_BYTES = 64 << 10
READABLE_BY_OTHERS = 0o077


class AppKey:
    """The key of one App. Raises `KeyFileError` where the file has none; the key is in no text."""

    def __init__(self, app_id: int, path: Path) -> None:
        self.app_id, self._key = app_id, read_key(path)

    def sign(self, now: float) -> str:
        """Return a JSON web token; `now` is GitHub's time in seconds since 1970."""
        claims = {
            "iat": int(now) - BACKDATED_SECONDS,
            "exp": int(now) + VALID_SECONDS,
            "iss": str(self.app_id),
        }
        return jwt.encode(claims, self._key, "RS256")


def read_key(path: Path) -> RSAPrivateKey:
    """Return the key in a file; warn where other users can read it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES)
        mode = path.stat().st_mode
    except OSError as error:
        raise KeyFileError(
            f"GITHUB_APP_KEY_FILE names {path}, which cannot be read ({error.strerror}): "
            "let the user of vcs read it"
        ) from error
    try:
        found = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise to_key_error(path) from error
    if not isinstance(found, RSAPrivateKey):
        raise to_key_error(path)
    if path.is_file() and mode & READABLE_BY_OTHERS:
        logger.warning("other users of this machine can read the GitHub App's key: run chmod 600 {}", path)
    return found


def to_key_error(path: Path) -> KeyFileError:
    return KeyFileError(
        f"GITHUB_APP_KEY_FILE names {path}, which is no private key of a GitHub App: generate one in the "
        "App's settings, and store the .pem file there as it is"
    )
