"""The operators' token: SLIPWAY_TOKEN, else one that is made once and kept in SLIPWAY_HOME."""

import hmac
from pathlib import Path

from common import kept as secret

MIN_LENGTH = 16
PLAIN = r"^[!-~]*$"  # what a header can carry: printable ASCII without a blank


def check(token: str) -> None:
    """Raise `ValueError` for a token that can be guessed."""
    if len(token) < MIN_LENGTH:
        raise ValueError(
            f"has {len(token)} characters and needs {MIN_LENGTH}: whoever guesses it decides what is live. "
            "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes a good one"
        )


def path(home: Path) -> Path:
    return home / "token"


def kept(home: Path) -> str | None:
    """The token that was made here, None when none was; raises `OSError` when it is somebody else's."""
    return secret.read(path(home))


def make(home: Path) -> bool:
    """See that there is one; True when it was made now."""
    return secret.make(path(home))


def same(presented: str, token: str) -> bool:
    """Takes as long for a wrong one, whatever is wrong with it."""
    return bool(token) and hmac.compare_digest(presented.encode(), token.encode())
