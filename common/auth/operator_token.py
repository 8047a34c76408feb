"""The operators' token: SLIPWAY_TOKEN, else one that is generated once and stored in SLIPWAY_HOME."""

import hmac
from pathlib import Path

from common.system import secret_file as secret

MIN_TOKEN_CHARS = 16
ALLOWED_CHARS = r"^[!-~]*$"  # the characters a header can carry: printable ASCII without a blank


def check_strength(token: str) -> None:
    """Raise `ValueError` for a token that can be guessed."""
    if len(token) < MIN_TOKEN_CHARS:
        raise ValueError(
            f"has {len(token)} characters and needs {MIN_TOKEN_CHARS}: whoever guesses it "
            "decides what is live. "
            "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes a good one"
        )


def token_path(home: Path) -> Path:
    return home / "token"


def read_stored(home: Path) -> str | None:
    """Return the generated token, None when there is none; raises `OSError` when another user owns it."""
    return secret.read(token_path(home))


def create_if_missing(home: Path) -> bool:
    """Generate the token if there is none; return True when it was generated now."""
    return secret.create_if_missing(token_path(home))


def is_same(presented: str, token: str) -> bool:
    """Compare in constant time, whatever is wrong with the presented token."""
    return bool(token) and hmac.compare_digest(presented.encode(), token.encode())
