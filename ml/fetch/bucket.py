"""A file in a bucket, by fsspec: the only door to it and to the libraries that it takes along."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from ml.errors import Rejected
from ml.fetch.origin import Broken, Changed, Content, Version, shown

CHUNK = 8 << 20
# scheme → the package that fsspec needs for it
PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
}
TAGS = ("ETag", "etag", "md5Hash", "content_md5", "VersionId", "blob_id")
DATES = ("LastModified", "last_modified", "updated", "mtime")


class Bucket:
    """Read with the appliance's own credentials, as the bucket's library finds them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.scheme = urlsplit(address).scheme.lower()
        package = PACKAGES[self.scheme]
        if importlib.util.find_spec(package) is None:
            raise Rejected(
                f"{self.scheme}:// needs the package {package}, which this appliance does not have: have "
                "its operator install it, or give the data by https:// or s3://"
            )
        self.files, self.path = self.connect({})

    def connect(self, options: dict[str, Any]) -> tuple[Any, str]:
        import fsspec  # noqa: PLC0415 (a third of a second, for those who use it)

        with self.faults():
            files, path = fsspec.core.url_to_fs(self.address, skip_instance_cache=True, **options)
        return files, path

    def look(self) -> Version:
        try:
            found = self.info()
        except Anonymous:  # a public bucket needs no credentials
            self.files, self.path = self.connect({"anon": True})
            found = self.info()
        if found.get("type") == "directory":
            raise Rejected(f"{shown(self.address)} is a folder: name one file")
        tag = next((str(found[name]) for name in TAGS if found.get(name)), None)
        date = next((str(found[name]) for name in DATES if found.get(name)), None)
        return Version(tag, date, found.get("size"))

    def info(self) -> dict[str, Any]:
        with self.faults():
            self.files.invalidate_cache()
            found: dict[str, Any] = self.files.info(self.path)
        return found

    @contextmanager
    def read(self, start: int, version: Version) -> Iterator[Content]:
        now = self.look()
        start = start if now.same(version) else 0
        yield Content(now, start, self.chunks(start, now.size or 0))
        if not self.look().same(now):
            raise Changed

    def chunks(self, start: int, size: int) -> Iterator[bytes]:
        while start < size:
            end = min(start + CHUNK, size)
            with self.faults():
                piece: bytes = self.files.cat_file(self.path, start=start, end=end)
            if not 0 < len(piece) <= end - start:
                raise Broken(f"it gave {len(piece)} bytes for {end - start}")
            yield piece
            start += len(piece)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """The library's many kinds of errors, as ours."""
        try:
            yield
        except (FileNotFoundError, IsADirectoryError) as error:
            raise Rejected(f"{shown(self.address)} does not exist: is it right in slipway.toml?") from error
        except PermissionError as error:
            raise Rejected(
                f"{shown(self.address)} may not be read with the appliance's credentials: {error}"
            ) from error
        except Exception as error:
            if type(error).__name__ == "NoCredentialsError" and not getattr(
                getattr(self, "files", None), "anon", True
            ):
                raise Anonymous from error
            raise Broken(str(error) or repr(error)) from error


class Anonymous(Exception):
    """The appliance has no credentials for the bucket."""
