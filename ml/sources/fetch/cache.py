"""The cache of downloaded files, by the digest of their content; an unchanged one costs one request."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from common.errors import RejectedError, UnavailableError
from common.system import disk, filelock
from common.units import format_bytes
from ml.sources.fetch import notes
from ml.sources.fetch.download import Download, DownloadLimits, LogLine, get_with_retries
from ml.sources.fetch.notes import FileMetadata
from ml.sources.fetch.origin import FileVersion, Origin, mask_address

UNUSED_SECONDS = 24 * 3600  # seconds for which a version is stored that its origin no longer has
PARTIAL_SECONDS = 7 * 24 * 3600  # seconds for which an incomplete download waits to be resumed
RETENTION_SECONDS = 30 * 24 * 3600  # seconds for which a file is stored that no build requests


@dataclass(frozen=True)
class StoredFile:
    path: Path  # read-only, and removed some time after its last use: link it
    sha256: str
    size: int


class DataCache:
    """The cache, safe between processes; each step may be killed."""

    def __init__(self, root: Path, limits: DownloadLimits) -> None:
        self.root, self.limits = root, limits

    def get(self, origin: Origin, pin: str | None, log_line: LogLine) -> StoredFile:
        """Return the file as its origin has it now.

        `pin` is the sha256 it has to have; a stored file that has it is returned without a request.
        Raises `RejectedError` for the wrong digest, for too much data, and for what the origin refuses for
        good; `UnavailableError` for an external fault, even when an older version is stored.
        """
        name = mask_address(origin.address)
        base_path = self.base_path(origin)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # models only read their releases' links
        with filelock.acquire(base_path.with_suffix(".lock")):
            metadata = notes.read_metadata(base_path.with_suffix(".json"))
            if metadata and pin == metadata.sha256 and (stored := self.find_stored(metadata.sha256)):
                log_line(f"{name}: {format_bytes(stored.size)}, stored already, with the requested sha256")
                return stored
            version = get_with_retries(origin.get_version, name, log_line)
            stored = (
                self.find_stored(metadata.sha256) if metadata and version.is_same(metadata.version) else None
            )
            if stored:
                log_line(f"{name}: unchanged, {format_bytes(stored.size)} are stored already")
            else:
                stored = self.download_file(origin, version, base_path, pin, log_line)
            if pin and pin != stored.sha256:
                raise to_digest_error(name, stored.sha256, pin)
            return stored

    def base_path(self, origin: Origin) -> Path:
        """Return the path of what is stored about an address, without the suffix of each file."""
        return self.root / "addresses" / hashlib.sha256(origin.address.encode()).hexdigest()[:32]

    def find_metadata(self, origin: Origin) -> FileMetadata | None:
        """Return the version and the sha256 of an address's last download; None where there is none."""
        return notes.read_metadata(self.base_path(origin).with_suffix(".json"))

    def find_stored(self, sha256: str) -> StoredFile | None:
        """Return the content, if it is stored and unchanged; remove it when it was changed."""
        path = self.root / "content" / sha256
        try:
            with path.open("rb") as file:
                is_intact = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return None
        if not is_intact:
            path.unlink()
            return None
        os.utime(path)  # marks it as used
        return StoredFile(path, sha256, path.stat().st_size)

    def download_file(
        self, origin: Origin, version: FileVersion, base_path: Path, pin: str | None, log_line: LogLine
    ) -> StoredFile:
        """Download to the end, store the file under its digest, and record its version."""
        download = Download(origin, base_path.with_suffix(".part"), self.limits, log_line)
        try:
            version = download.run(version)
            digest = download.compute_digest()
            if pin and digest != pin:
                raise to_digest_error(mask_address(origin.address), digest, pin)
            stored = StoredFile(self.root / "content" / digest, digest, download.received_bytes)
            stored.path.parent.mkdir(exist_ok=True)
            download.part.chmod(0o444)
            download.part.replace(stored.path)
            notes.write_metadata(base_path.with_suffix(".json"), FileMetadata(version, digest))
        except RejectedError:
            download.discard_part()  # whatever is wrong with it, the next attempt starts from scratch
            raise
        except OSError as error:
            if error.errno not in disk.FULL_ERRNOS:
                raise
            download.discard_part()  # else it would keep the disk full
            raise UnavailableError(
                f"the disk of SLIPWAY_HOME is full: {download.name} could not be stored there"
            ) from error
        download.discard_part()
        log_line(f"{download.name}: {format_bytes(stored.size)}, sha256 {digest}")
        return stored


def sweep_cache(root: Path) -> None:
    """Remove content that no address refers to, or that was not used in a long time.

    Call it while nothing is built.
    """
    now, referenced = time.time(), set()
    for note in sorted((root / "addresses").glob("*.json")):
        metadata = notes.read_metadata(note)
        content = root / "content" / metadata.sha256 if metadata else None
        if metadata and content and content.exists() and now - content.stat().st_mtime < RETENTION_SECONDS:
            referenced.add(metadata.sha256)
        else:
            note.unlink()
    for content in (root / "content").glob("*"):
        status = content.stat()
        if content.name not in referenced and status.st_nlink == 1 and now - status.st_mtime > UNUSED_SECONDS:
            content.unlink()
    for leftover in (root / "addresses").glob("*"):
        if leftover.suffix != ".json" and now - leftover.stat().st_mtime > PARTIAL_SECONDS:
            leftover.unlink()


def to_digest_error(name: str, sha256: str, pin: str) -> RejectedError:
    return RejectedError(
        f"{name} has the sha256 {sha256}, and slipway.toml wants {pin}: put the right "
        "file there, or name the digest of the new one"
    )
