"""A file in a bucket, by fsspec: the only importer of it and of the libraries that it loads."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from common.errors import RejectedError
from ml.sources.fetch.origin import FileContent, FileVersion, OriginChangedError, OriginError, mask_address

CHUNK_BYTES = 8 << 20
# scheme → the package that fsspec needs for it
SCHEME_PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
}
TAG_KEYS = ("ETag", "etag", "md5Hash", "content_md5", "VersionId", "blob_id")
DATE_KEYS = ("LastModified", "last_modified", "updated", "mtime")


class BucketFile:
    """A file in a bucket, read with the appliance's own credentials, as the bucket's library finds them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.scheme = urlsplit(address).scheme.lower()
        package = SCHEME_PACKAGES[self.scheme]
        if importlib.util.find_spec(package) is None:
            raise RejectedError(
                f"{self.scheme}:// needs the package {package}, which this appliance does not have: have "
                "its operator install it, or give the data by https:// or s3://"
            )
        self.files, self.path = self.open_filesystem({})

    def open_filesystem(self, options: dict[str, Any]) -> tuple[Any, str]:
        import fsspec  # noqa: PLC0415 (a third of a second, for those who use it)

        with self.translate_errors():
            files, path = fsspec.core.url_to_fs(self.address, skip_instance_cache=True, **options)
        return files, path

    def get_version(self) -> FileVersion:
        try:
            found = self.read_info()
        except MissingCredentialsError:  # a public bucket needs no credentials
            self.files, self.path = self.open_filesystem({"anon": True})
            found = self.read_info()
        if found.get("type") == "directory":
            raise RejectedError(f"{mask_address(self.address)} is a folder: name one file")
        tag = next((str(found[name]) for name in TAG_KEYS if found.get(name)), None)
        date = next((str(found[name]) for name in DATE_KEYS if found.get(name)), None)
        return FileVersion(tag, date, found.get("size"))

    def read_info(self) -> dict[str, Any]:
        with self.translate_errors():
            self.files.invalidate_cache()
            found: dict[str, Any] = self.files.info(self.path)
        return found

    @contextmanager
    def read(self, start: int, version: FileVersion) -> Iterator[FileContent]:
        now = self.get_version()
        start = start if now.is_same(version) else 0
        yield FileContent(now, start, self.read_chunks(start, now.size or 0))
        if not self.get_version().is_same(now):
            raise OriginChangedError

    def read_chunks(self, start: int, size: int) -> Iterator[bytes]:
        while start < size:
            end = min(start + CHUNK_BYTES, size)
            with self.translate_errors():
                piece: bytes = self.files.cat_file(self.path, start=start, end=end)
            if not 0 < len(piece) <= end - start:
                raise OriginError(f"it gave {len(piece)} bytes for {end - start}")
            yield piece
            start += len(piece)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Translate the library's many kinds of errors into ours."""
        try:
            yield
        except (FileNotFoundError, IsADirectoryError) as error:
            raise RejectedError(
                f"{mask_address(self.address)} does not exist: is it right in slipway.toml?"
            ) from error
        except PermissionError as error:
            raise RejectedError(
                f"{mask_address(self.address)} may not be read with the appliance's credentials: {error}"
            ) from error
        except Exception as error:
            if type(error).__name__ == "NoCredentialsError" and not getattr(
                getattr(self, "files", None), "anon", True
            ):
                raise MissingCredentialsError from error
            raise OriginError(str(error) or repr(error)) from error


class MissingCredentialsError(Exception):
    """An error for a bucket that the appliance has no credentials for."""
