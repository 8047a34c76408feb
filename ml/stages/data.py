"""Data: the training and test sets, brought here, fingerprinted, and held still for the release."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.durable import publish
from ml import stagelog
from ml.errors import Rejected
from ml.fetch import origins
from ml.fetch.allowed import Allowed
from ml.fetch.cache import Cache, wrong
from ml.fetch.download import Limits, Say
from ml.fetch.local import DataFolders, Local
from ml.fetch.origin import Origin, file_name, shown
from ml.home import Home
from ml.manifest import SCHEME, DataSection
from ml.settings import Settings

LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class DataSet:
    path: Path  # a file or, with the format `path`, a folder
    format: str  # csv, parquet, json or path
    sha256: str
    size: int  # bytes
    place: str  # where it came from, in words for a person

    def question(self) -> dict[str, str]:
        """As `ml/model` is told of it."""
        return {"path": str(self.path), "format": self.format}

    def facts(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "size": self.size, "from": self.place}


@dataclass(frozen=True)
class DataSets:
    train: DataSet
    test: DataSet

    def facts(self) -> dict[str, Any]:
        """What is kept with the release."""
        return {"train": self.train.facts(), "test": self.test.facts()}


@dataclass(frozen=True)
class Supply:
    """Where one model's data may come from besides its repository, and where it is kept."""

    folders: DataFolders
    allowed: Allowed
    cache: Cache

    def origin(self, address: str) -> Origin:
        return origins.origin(address, allowed=self.allowed, folders=self.folders)


def supply(settings: Settings, model: str) -> Supply:
    return Supply(
        settings.data_folders(model),
        Allowed.read(settings.data_allow),
        Cache(
            Home(settings.home.absolute()).data_cache,
            Limits(settings.data_limit, settings.data_timeout),
        ),
    )


def fetch(section: DataSection, source: Path, supply: Supply, *, into: Path, log: Path) -> DataSets:
    """Both data sets: what `[data]` names, else data/*.csv in the repository, else what the appliance holds.

    What is fetched is linked into the folder `into`, and stays what it was for this release.
    """
    return DataSets(**gather(("train", "test"), section, source, supply, into=into, log=log))


def gather(
    names: Sequence[str], section: DataSection, source: Path, supply: Supply, *, into: Path, log: Path
) -> dict[str, DataSet]:
    """The data sets of these names. Raises `Rejected` and `Unavailable` with what a person has to do."""
    if (known := remembered(into)) is not None:
        return known
    new = into.with_name(f"{into.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    found = {}
    for name in names:
        found[name] = Search(name, section, source, supply, into, stagelog.to(log, name)).run()
    document = {name: asdict(dataset) | {"path": str(dataset.path)} for name, dataset in found.items()}
    (new / "data.json").write_text(json.dumps(document))
    shutil.rmtree(into, ignore_errors=True)
    publish(new, into)
    return found


def remembered(into: Path) -> dict[str, DataSet] | None:
    """What an earlier attempt of this release has found: what it trains on does not change on the way."""
    done = into / "data.json"
    if not done.exists():
        return None
    document = json.loads(done.read_text())
    found = {name: DataSet(**{**it, "path": Path(it["path"])}) for name, it in document.items()}
    return found if all(dataset.path.exists() for dataset in found.values()) else None


@dataclass(frozen=True)
class Search:
    """One data set, wherever it is."""

    name: str
    section: DataSection
    source: Path
    supply: Supply
    into: Path
    say: Say

    def run(self) -> DataSet:
        named: str | None = getattr(self.section, self.name)
        if named is not None:
            return self.elsewhere(named) if SCHEME.match(named) else self.in_repository(named)
        if os.path.lexists(self.source / f"data/{self.name}.csv"):
            return self.in_repository(f"data/{self.name}.csv", "csv")
        if (path := self.supply.folders.own / f"{self.name}.csv").is_file():
            place = f"{path} on the appliance"
            return self.fetched(Local(self.supply.folders.check(path, place), path), place, "csv")
        raise Rejected(
            f"there is no {self.name} data: put it at data/{self.name}.csv in the repository, or name it as "
            f"[data] {self.name} in slipway.toml, or put it on the appliance at {path} (SLIPWAY_DATA)"
        )

    @property
    def pin(self) -> str | None:
        found: str | None = getattr(self.section.sha256, self.name)
        return found

    def in_repository(self, named: str, form: str | None = None) -> DataSet:
        path = self.source / named
        if not path.exists():
            raise Rejected(
                f"slipway.toml names {named} as [data] {self.name}, and the repository has no such file"
            )
        if not inside(path, self.source):
            raise Rejected(f"{named} is a link out of the repository")
        return self.in_place(path, f"{named} in the repository", form or self.section.format)

    def elsewhere(self, address: str) -> DataSet:
        origin = self.supply.origin(address)
        if isinstance(origin, Local) and origin.path.is_dir():
            return self.in_place(origin.path, f"{origin.path} on the appliance", self.section.format)
        return self.fetched(origin, shown(address), self.section.format)

    def in_place(self, path: Path, place: str, form: str) -> DataSet:
        if path.is_dir() and form != "path":
            raise Rejected(f'{place} is a folder, and only format = "path" in [data] hands over folders')
        in_repository = path.is_relative_to(self.source)
        folders = (self.source,) if in_repository else self.supply.folders.readable
        sha256, size = fingerprint(path, place, folders)
        if self.pin and self.pin != sha256:
            raise wrong(place, sha256, self.pin)
        self.say(f"{place}: {size} bytes, sha256 {sha256}")
        return DataSet(path, form, sha256, size, place)

    def fetched(self, origin: Origin, place: str, form: str) -> DataSet:
        """Brought into the cache, and linked where the model may read it under a name that it knows."""
        stored = self.supply.cache.get(origin, self.pin, self.say)
        name = Path(self.name, file_name(origin.address))
        target = self.into.with_name(f"{self.into.name}.new") / name
        target.parent.mkdir()
        try:
            target.hardlink_to(stored.path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(stored.path, target)
            target.chmod(0o444)
        return DataSet(self.into / name, form, stored.sha256, stored.size, place)


def inside(path: Path, *folders: Path) -> bool:
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


def fingerprint(path: Path, place: str, folders: Sequence[Path]) -> tuple[str, int]:
    """Digest and bytes. A file's digest is of its bytes; a folder's is of its files' names and bytes.

    Raises `Rejected` for a link that leads out of `folders`.
    """
    digest, size = hashlib.sha256(), 0
    for file in files_of(path):
        if not inside(file, *folders):
            raise Rejected(f"{file.relative_to(path.parent)} is a link out of where {place} may be")
        if not file.is_file():
            raise Rejected(f"{place} holds {file.name}, which is no file")
        with file.open("rb") as opened:
            if opened.read(len(LFS)) == LFS:
                raise Rejected(
                    f"{file.name} of {place} is a pointer of Git LFS, whose files Slipway does not "
                    "fetch: commit the file itself, or give its address in [data]"
                )
            opened.seek(0)
            one = hashlib.file_digest(opened, "sha256")
            size += opened.tell()
        if file == path:
            return one.hexdigest(), size
        digest.update(str(file.relative_to(path)).encode())
        digest.update(one.digest())
    return digest.hexdigest(), size


def files_of(path: Path) -> list[Path]:
    """All files of a folder, in one order; links to folders are not followed, and count as files."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, folders, files in os.walk(path):
        here = Path(folder)
        found += [here / name for name in files]
        found += [here / name for name in folders if (here / name).is_symlink()]
    return sorted(found)
