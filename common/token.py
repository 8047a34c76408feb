"""The operators' token: SLIPWAY_TOKEN, else one that is made once and kept in SLIPWAY_HOME."""

import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

PLAIN = r"^[!-~]*$"  # what a header can carry: printable ASCII without a blank


def path(home: Path) -> Path:
    return home / "token"


def kept(home: Path) -> str | None:
    """The token that was made here, None when none was; raises `OSError` when it is somebody else's."""
    with suppress(FileNotFoundError):
        return path(home).read_text().strip() or None
    return None


def make(home: Path) -> bool:
    """See that there is one; True when it was made now. Of several that try at once, one makes it."""
    home.mkdir(parents=True, exist_ok=True)
    if kept(home):
        return False
    descriptor, new = tempfile.mkstemp(dir=home, prefix="token.")
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path(home).hardlink_to(new)  # unlike a rename, it never takes the place of another's
    except FileExistsError:
        return False
    finally:
        Path(new).unlink()
    return True


def same(presented: str, token: str) -> bool:
    """Takes as long for a wrong one, whatever is wrong with it."""
    return bool(token) and hmac.compare_digest(presented.encode(), token.encode())
