"""An address and what it leads to."""

from urllib.parse import urlsplit

from ml.errors import Rejected
from ml.fetch import local
from ml.fetch.allowed import Allowed
from ml.fetch.bucket import PACKAGES, Bucket
from ml.fetch.http import Http
from ml.fetch.local import DataFolders, Local
from ml.fetch.origin import Origin, shown


def origin(address: str, *, allowed: Allowed, folders: DataFolders) -> Origin:
    """What brings the file at `address`; files of the appliance only from `folders`.

    Only these schemes: fsspec has others that read any file, or run programs.
    """
    try:
        scheme = urlsplit(address).scheme.lower()
    except ValueError as error:
        raise Rejected(f"{shown(address)} is not an address: {error}") from error
    if scheme in ("http", "https"):
        return Http(address, allowed)
    if scheme == "file":
        named = local.path_of(address)
        return Local(folders.check(named, shown(address)), named)
    if scheme in PACKAGES:
        return Bucket(address)
    raise Rejected(
        f"{shown(address)}: data does not come from {scheme}://, but from a path in the repository, or from "
        f"https, http, file, {', '.join(PACKAGES)}"
    )
