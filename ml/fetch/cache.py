"""Files that were brought, by the digest of their content; unchanged ones cost one look at their origin."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ml import disk, flock
from ml.errors import Rejected, Unavailable
from ml.fetch import notes
from ml.fetch.download import Download, Limits, Say, persistent
from ml.fetch.notes import Known
from ml.fetch.origin import Origin, Version, shown
from ml.quantities import written

UNUSED = 24 * 3600  # seconds for which a version is kept that its origin no longer has
LEFT = 7 * 24 * 3600  # seconds for which a broken download waits to be gone on with
FORGOTTEN = 30 * 24 * 3600  # seconds for which a file is kept that nobody asks for


@dataclass(frozen=True)
class Stored:
    path: Path  # read-only, and taken away some time after its last use: link it
    sha256: str
    size: int


class Cache:
    """Safe between processes; each step may be killed."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root, self.limits = root, limits

    def get(self, origin: Origin, pin: str | None, say: Say) -> Stored:
        """The file as its origin has it now. `pin` is the sha256 it has to have; there already: no look.

        Raises `Rejected` for the wrong digest, for too much, and for what the origin refuses for good;
        `Unavailable` when the world is at fault: what merely happens to be here is not given then.
        """
        name = shown(origin.address)
        place = self.root / "addresses" / hashlib.sha256(origin.address.encode()).hexdigest()[:32]
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # models read their releases' links alone
        with flock.hold(place.with_suffix(".lock")):
            known = notes.read(place.with_suffix(".json"))
            if known and pin == known.sha256 and (stored := self.stored(known.sha256)):
                say(f"{name}: {written(stored.size)}, here already, with the sha256 that is asked for")
                return stored
            version = persistent(origin.look, name, say)
            stored = self.stored(known.sha256) if known and version.same(known.version) else None
            if stored:
                say(f"{name}: unchanged, {written(stored.size)} are here already")
            else:
                stored = self.bring(origin, version, place, pin, say)
            if pin and pin != stored.sha256:
                raise wrong(name, stored.sha256, pin)
            return stored

    def stored(self, sha256: str) -> Stored | None:
        """The content, if it is there and nobody has changed it; what was changed is taken away."""
        path = self.root / "content" / sha256
        try:
            with path.open("rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return None
        if not whole:
            path.unlink()
            return None
        os.utime(path)  # it was used
        return Stored(path, sha256, path.stat().st_size)

    def bring(self, origin: Origin, version: Version, place: Path, pin: str | None, say: Say) -> Stored:
        """Download to the end, keep it under its digest, and remember which version it was."""
        download = Download(origin, place.with_suffix(".part"), self.limits, say)
        try:
            version = download.run(version)
            digest = download.digest()
            if pin and digest != pin:
                raise wrong(shown(origin.address), digest, pin)
            stored = Stored(self.root / "content" / digest, digest, download.here)
            stored.path.parent.mkdir(exist_ok=True)
            download.part.chmod(0o444)
            download.part.replace(stored.path)
            notes.write(place.with_suffix(".json"), Known(version, digest))
        except Rejected:
            download.forget()  # whatever is wrong with it, the next one begins anew
            raise
        except OSError as error:
            if error.errno not in disk.ERRORS:
                raise
            download.forget()  # else it would keep the disk full
            raise Unavailable(
                f"the disk of SLIPWAY_HOME is full: {download.name} could not be kept there"
            ) from error
        download.forget()
        say(f"{download.name}: {written(stored.size)}, sha256 {digest}")
        return stored


def sweep(root: Path) -> None:
    """Take away what no address has any more, and what nobody asked for in a long time.

    Call it while nothing is built.
    """
    now, kept = time.time(), set()
    for note in sorted((root / "addresses").glob("*.json")):
        known = notes.read(note)
        content = root / "content" / known.sha256 if known else None
        if known and content and content.exists() and now - content.stat().st_mtime < FORGOTTEN:
            kept.add(known.sha256)
        else:
            note.unlink()
    for content in (root / "content").glob("*"):
        used = content.stat()
        if content.name not in kept and used.st_nlink == 1 and now - used.st_mtime > UNUSED:
            content.unlink()
    for rest in (root / "addresses").glob("*"):
        if rest.suffix != ".json" and now - rest.stat().st_mtime > LEFT:
            rest.unlink()


def wrong(name: str, sha256: str, pin: str) -> Rejected:
    return Rejected(
        f"{name} has the sha256 {sha256}, and slipway.toml wants {pin}: put the right file there, or name "
        "the digest of the new one"
    )
