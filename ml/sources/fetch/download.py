"""The download of one file, which resumes after every interruption, and ends at every limit."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import RejectedError, UnavailableError
from common.system.backoff import Backoff
from common.units import format_bytes
from ml.sources.fetch import notes
from ml.sources.fetch.notes import FileMetadata
from ml.sources.fetch.origin import FileVersion, Origin, OriginChangedError, OriginError, mask_address

LogLine = Callable[[str], None]

MAX_TRIES = 4  # consecutive tries that received nothing
BACKOFF = Backoff(0.2, 5.0)  # between tries
MIN_FREE_BYTES = 64 << 20  # bytes that stay free on the disk


@dataclass(frozen=True)
class DownloadLimits:
    """The limits of one file."""

    size: int  # bytes
    timeout: float  # seconds, for one build; the next one resumes
    report_seconds: float = 5  # seconds


class Download:
    """A download; received bytes are stored in `part`, for whoever resumes it."""

    def __init__(self, origin: Origin, part: Path, limits: DownloadLimits, log_line: LogLine) -> None:
        self.origin, self.part, self.limits, self.log_line = origin, part, limits, log_line
        self.metadata_path = part.with_suffix(".version")
        self.name = mask_address(origin.address)
        self.deadline = time.monotonic() + limits.timeout

    @property
    def received_bytes(self) -> int:
        """Bytes received so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def compute_digest(self) -> str:
        with self.part.open("rb") as file:
            os.fsync(file.fileno())
            return hashlib.file_digest(file, "sha256").hexdigest()

    def discard_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.metadata_path.unlink(missing_ok=True)

    def begun_version(self) -> FileVersion:
        """Return the version of the received bytes; an empty one when they cannot be trusted."""
        metadata = notes.read_metadata(self.metadata_path)
        return metadata.version if metadata and metadata.sha256 == notes.read_boot_id() else FileVersion()

    def run(self, version: FileVersion) -> FileVersion:
        """Download until everything is received; return the version that it turned out to be."""
        if not version.is_same(self.begun_version()):
            self.discard_part()
        failed_tries, furthest = 0, self.received_bytes
        while True:
            try:
                return self.download_once()
            except OriginChangedError:
                self.log_line(f"{self.name} has changed since the download started: it starts again")
                self.discard_part()
                error = OriginError("it changes while it is fetched, again and again")
            except OriginError as broken:
                error = broken
                self.log_line(f"{error}; {format_bytes(self.received_bytes)} are stored")
            failed_tries = 0 if self.received_bytes > furthest else failed_tries + 1
            furthest = max(furthest, self.received_bytes)
            if failed_tries >= MAX_TRIES:
                raise to_unavailable_error(self.name, error, self.received_bytes) from error
            self.check_deadline()
            time.sleep(BACKOFF.get_pause(failed_tries + 1))

    def download_once(self) -> FileVersion:
        """Receive over one connection, from where the last one ended."""
        with self.origin.read(self.received_bytes, self.begun_version()) as content:
            size = content.version.size
            if size is not None:
                self.check_space(size, content.start)
            with self.part.open("ab") as file:
                file.truncate(content.start)
                if content.start == 0:
                    notes.write_metadata(
                        self.metadata_path, FileMetadata(content.version, notes.read_boot_id())
                    )
                position, progress = content.start, DownloadProgress(self, content.start, size)
                for chunk in content.chunks:
                    file.write(chunk)
                    position += len(chunk)
                    self.check_size(position)
                    self.check_deadline()
                    progress.report_at(position)
        if size is not None and position < size:
            raise OriginError(f"it ended after {position} of {size} bytes")
        if size is not None and position > size:
            raise OriginChangedError
        return content.version

    def check_size(self, size: int) -> None:
        if size > self.limits.size:
            raise RejectedError(
                f"{self.name} is larger than the {format_bytes(self.limits.size)} that this "
                "appliance takes: use "
                "less, or have the operator raise SLIPWAY_DATA_LIMIT"
            )

    def check_space(self, size: int, start: int) -> None:
        """Check that the size is allowed and that the disk has room for it."""
        self.check_size(size)
        free = shutil.disk_usage(self.part.parent).free
        if size - start + MIN_FREE_BYTES > free:
            raise UnavailableError(
                f"the disk of SLIPWAY_HOME is full: {self.name} takes {format_bytes(size - start)} more, and "
                f"{format_bytes(free)} are free"
            )

    def check_deadline(self) -> None:
        if time.monotonic() > self.deadline:
            raise UnavailableError(
                f"{self.name} has not come within {self.limits.timeout:g} s (SLIPWAY_DATA_TIMEOUT); "
                f"{format_bytes(self.received_bytes)} have arrived: the download resumes there"
            )


class DownloadProgress:
    """The log of a download: a line at the beginning, and one at intervals."""

    def __init__(self, download: Download, start: int, size: int | None) -> None:
        self.download, self.size = download, size
        self.last = (time.monotonic(), start)
        total = f"{format_bytes(size)}" if size is not None else "of unknown size"
        resumed = f", resumed after the {format_bytes(start)} that are stored" if start else ""
        download.log_line(f"{download.name}: {total}{resumed}")

    def report_at(self, at: int) -> None:
        now, (then, before) = time.monotonic(), self.last
        if now - then < self.download.limits.report_seconds:
            return
        total = f" of {format_bytes(self.size)} ({at / self.size:.0%})" if self.size else ""
        speed = format_bytes((at - before) / (now - then))
        self.download.log_line(f"{self.download.name}: {format_bytes(at)}{total}, {speed}/s")
        self.last = (now, at)


def get_with_retries(get_version: Callable[[], FileVersion], name: str, log_line: LogLine) -> FileVersion:
    """Return the result of `get_version`; retry a few times after external faults."""
    attempt = 0
    while True:
        try:
            return get_version()
        except OriginError as error:
            log_line(str(error))
            attempt += 1
            if attempt >= MAX_TRIES:
                raise to_unavailable_error(name, error, 0) from error
            time.sleep(BACKOFF.get_pause(attempt + 1))


def to_unavailable_error(name: str, error: OriginError, received_bytes: int) -> UnavailableError:
    resumed = (
        f"; {format_bytes(received_bytes)} have arrived: the download resumes there" if received_bytes else ""
    )
    return UnavailableError(f"{name} cannot be fetched: {error}{resumed}")
