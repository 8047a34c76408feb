"""The appliance's key of the request log, a file in SLIPWAY_HOME closed to other users."""

from hashlib import blake2b
from pathlib import Path

from loguru import logger

from common.system import secret_file

KEY_BYTES = 32


def load_key(path: Path) -> bytes:
    """Return the key, which is made when there is none.

    Raises `SystemExit` when the file cannot be used: with another key, fields would get other hashes.
    """
    try:
        secret_file.create_if_missing(path)
        secret = secret_file.read(path)
    except OSError as error:
        raise SystemExit(f"the key of the request log at {path} cannot be used: {error.strerror}") from error
    if secret is None:
        raise SystemExit(f"{path} is empty: remove it, and Slipway makes a new key")
    return secret.encode()


def find_key(path: Path) -> bytes | None:
    """Return the key where one can be read: without it nothing that was recorded can be erased by id."""
    try:
        secret = secret_file.read(path)
    except OSError as error:
        logger.warning("the key of the request log at {} cannot be read: {}", path, error.strerror)
        return None
    return secret.encode() if secret else None


def derive_key(key: bytes, purpose: str) -> bytes:
    """Return a key for one purpose, from which no other can be found."""
    return blake2b(purpose.encode(), key=key[:64], digest_size=KEY_BYTES).digest()
