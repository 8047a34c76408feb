"""The origin for each kind of address."""

from urllib.parse import urlsplit

from common.allowed_addresses import AddressPolicy
from common.errors import RejectedError
from ml.data_folders import DataFolders
from ml.sources.fetch import local
from ml.sources.fetch.bucket import SCHEME_PACKAGES, BucketFile
from ml.sources.fetch.local import LocalFile
from ml.sources.fetch.origin import Origin, mask_address


def open_origin(address: str, *, allowed: AddressPolicy, folders: DataFolders) -> Origin:
    """Return the origin of the file at `address`; files of the appliance only from `folders`.

    Only these schemes: fsspec has others that read any file, or run programs.
    """
    try:
        scheme = urlsplit(address).scheme.lower()
    except ValueError as error:
        raise RejectedError(f"{mask_address(address)} is not an address: {error}") from error
    if scheme in ("http", "https"):
        from ml.sources.fetch.http import HttpFile  # noqa: PLC0415 (httpx is large, and rarely needed)

        return HttpFile(address, allowed)
    if scheme == "file":
        path = local.parse_file_url(address)
        return LocalFile(folders.resolve_readable(path, mask_address(address)), path)
    if scheme in SCHEME_PACKAGES:
        return BucketFile(address)
    raise RejectedError(
        f"{mask_address(address)}: data does not come from {scheme}://, but from a path in the "
        "repository, or from "
        f"https, http, file, {', '.join(SCHEME_PACKAGES)}"
    )
