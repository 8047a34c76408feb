"""One file on its way here: goes on after every break, and ends at every limit."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml.errors import Rejected, Unavailable
from ml.fetch import notes
from ml.fetch.notes import Known
from ml.fetch.origin import Broken, Changed, Origin, Version, shown
from ml.quantities import written

Say = Callable[[str], None]

TRIES = 4  # in a row that brought nothing
SPARE = 64 << 20  # bytes that stay free on the disk


@dataclass(frozen=True)
class Limits:
    """Of one file."""

    size: int  # bytes
    timeout: float  # seconds, for one build; the next goes on
    tell_every: float = 5  # seconds


class Download:
    """What came is kept in `part`, for whoever goes on with it."""

    def __init__(self, origin: Origin, part: Path, limits: Limits, say: Say) -> None:
        self.origin, self.part, self.limits, self.say = origin, part, limits, say
        self.note = part.with_suffix(".version")
        self.name = shown(origin.address)
        self.until = time.monotonic() + limits.timeout

    @property
    def here(self) -> int:
        """Bytes that came so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def digest(self) -> str:
        with self.part.open("rb") as file:
            os.fsync(file.fileno())
            return hashlib.file_digest(file, "sha256").hexdigest()

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def begun(self) -> Version:
        """The version of what is here; none when that cannot be trusted."""
        known = notes.read(self.note)
        return known.version if known and known.sha256 == notes.boot() else Version()

    def run(self, version: Version) -> Version:
        """Go on until all is there; the version that it turned out to be of."""
        if not version.same(self.begun()):
            self.forget()
        fruitless, furthest = 0, self.here
        while True:
            try:
                return self.once()
            except Changed:
                self.say(f"{self.name} is not what it was when it was begun: begun anew")
                self.forget()
                error = Broken("it changes while it is fetched, again and again")
            except Broken as broken:
                error = broken
                self.say(f"{error}; {written(self.here)} are here")
            fruitless = 0 if self.here > furthest else fruitless + 1
            furthest = max(furthest, self.here)
            if fruitless >= TRIES:
                raise unavailable(self.name, error, self.here) from error
            self.in_time()
            time.sleep(min(0.2 * 2**fruitless, 5))

    def once(self) -> Version:
        """One connection, from where the last one ended."""
        with self.origin.read(self.here, self.begun()) as content:
            size = content.version.size
            if size is not None:
                self.fits(size, content.start)
            with self.part.open("ab") as file:
                file.truncate(content.start)
                if content.start == 0:
                    notes.write(self.note, Known(content.version, notes.boot()))
                at, progress = content.start, Progress(self, content.start, size)
                for chunk in content.chunks:
                    file.write(chunk)
                    at += len(chunk)
                    self.within(at)
                    self.in_time()
                    progress.tell(at)
        if size is not None and at < size:
            raise Broken(f"it ended after {at} of {size} bytes")
        if size is not None and at > size:
            raise Changed
        return content.version

    def within(self, size: int) -> None:
        if size > self.limits.size:
            raise Rejected(
                f"{self.name} is larger than the {written(self.limits.size)} that this appliance takes: use "
                "less, or have the operator raise SLIPWAY_DATA_LIMIT"
            )

    def fits(self, size: int, start: int) -> None:
        """Whether it may be taken, and there is a place for it."""
        self.within(size)
        free = shutil.disk_usage(self.part.parent).free
        if size - start + SPARE > free:
            raise Unavailable(
                f"the disk of SLIPWAY_HOME is full: {self.name} takes {written(size - start)} more, and "
                f"{written(free)} are free"
            )

    def in_time(self) -> None:
        if time.monotonic() > self.until:
            raise Unavailable(
                f"{self.name} has not come within {self.limits.timeout:g} s (SLIPWAY_DATA_TIMEOUT); "
                f"{written(self.here)} are here, and it goes on from there"
            )


class Progress:
    """A line at the beginning, and one whenever it has gone on for a while."""

    def __init__(self, download: Download, start: int, size: int | None) -> None:
        self.download, self.size = download, size
        self.last = (time.monotonic(), start)
        whole = f"{written(size)}" if size is not None else "of unknown size"
        begun = f", from the {written(start)} on that are here" if start else ""
        download.say(f"{download.name}: {whole}{begun}")

    def tell(self, at: int) -> None:
        now, (then, before) = time.monotonic(), self.last
        if now - then < self.download.limits.tell_every:
            return
        whole = f" of {written(self.size)} ({at / self.size:.0%})" if self.size else ""
        speed = written((at - before) / (now - then))
        self.download.say(f"{self.download.name}: {written(at)}{whole}, {speed}/s")
        self.last = (now, at)


def persistent(look: Callable[[], Version], name: str, say: Say) -> Version:
    """What `look` gives; asked again a few times when the world is at fault."""
    attempt = 0
    while True:
        try:
            return look()
        except Broken as error:
            say(str(error))
            attempt += 1
            if attempt >= TRIES:
                raise unavailable(name, error, 0) from error
            time.sleep(0.2 * 2**attempt)


def unavailable(name: str, error: Broken, here: int) -> Unavailable:
    kept = f"; {written(here)} are here, and it goes on from there" if here else ""
    return Unavailable(f"{name} cannot be fetched: {error}{kept}")
