"""The training and test sets: fetched, fingerprinted, and fixed for the release."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.allowed_addresses import AddressPolicy
from common.errors import RejectedError
from common.system.durable import move_into_place
from common.system.plain_file import read_start
from ml import stage_log
from ml.data_folders import DataFolders
from ml.manifest import SCHEME_PATTERN, DataSection
from ml.paths import RECORDED_FOLDER, HomeLayout, find_export
from ml.recorded_address import is_recorded
from ml.settings import MlSettings
from ml.sources.fetch import origins
from ml.sources.fetch.cache import DataCache, to_digest_error
from ml.sources.fetch.download import DownloadLimits, LogLine
from ml.sources.fetch.local import LocalFile
from ml.sources.fetch.origin import Origin, mask_address, safe_file_name
from ml.sources.fingerprint import LFS_PREFIX, compute_fingerprint, is_inside, to_pointer_error
from ml.sources.recorded.source import RecordedPeriod, RecordedRows
from ml.stage_log import discard

DATASET_NAMES = ("train", "test")


@dataclass(frozen=True)
class DataSet:
    path: Path  # a file or, with the format `path`, a folder
    format: str  # csv, parquet, json or path
    sha256: str
    size: int  # bytes
    place: str  # origin, as a person reads it
    recorded: RecordedPeriod | None = None  # the rows that it has, where users sent them

    def to_request(self) -> dict[str, str]:
        """Return the part of a request that `ml/model_host` reads."""
        return {"path": str(self.path), "format": self.format}

    def to_metadata(self) -> dict[str, Any]:
        rows = {"recorded": asdict(self.recorded)} if self.recorded else {}
        return {"sha256": self.sha256, "size": self.size, "from": self.place, **rows}


@dataclass(frozen=True)
class DataSets:
    train: DataSet
    test: DataSet

    def to_metadata(self) -> dict[str, Any]:
        """Return the document that is stored with the release."""
        return {"train": self.train.to_metadata(), "test": self.test.to_metadata()}


@dataclass(frozen=True)
class DataSources:
    """The sources of one model's data besides its repository, and the cache for it."""

    folders: DataFolders
    allowed: AddressPolicy
    cache: DataCache
    may_use_recorded: bool = False  # whether the operator lets the model be trained on recorded requests
    recorded: RecordedRows | None = None  # none without a database, and where their content is not needed

    def open_origin(self, address: str) -> Origin:
        return origins.open_origin(address, allowed=self.allowed, folders=self.folders)


def data_sources(settings: MlSettings, model: str, recorded: RecordedRows | None = None) -> DataSources:
    return DataSources(
        settings.data_folders(model),
        AddressPolicy.from_text(settings.data_allow),
        DataCache(
            HomeLayout(settings.home.absolute()).data_cache,
            DownloadLimits(settings.data_limit, settings.data_timeout),
        ),
        settings.may_train_on_recorded(model),
        recorded,
    )


def fetch_datasets(
    section: DataSection, source: Path, sources: DataSources, *, output: Path, log: Path
) -> DataSets:
    """Return both data sets: from `[data]`, else data/*.csv in the repository, else the appliance's folder.

    Downloads are linked into the folder `output`, and do not change for this release.
    """
    return DataSets(**resolve_datasets(DATASET_NAMES, section, source, sources, output=output, log=log))


def resolve_datasets(
    names: Sequence[str], section: DataSection, source: Path, sources: DataSources, *, output: Path, log: Path
) -> dict[str, DataSet]:
    """Return the data sets of these names.

    Raises `RejectedError` and `UnavailableError` with a text on what a person has to do.
    """
    if (previous := load_previous(output)) is not None:
        return previous
    new = output.with_name(f"{output.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    found = {}
    for name in names:
        found[name] = DatasetResolver(
            name, section, source, sources, output, stage_log.stage_logger(log, name)
        ).resolve_dataset()
    document = {name: asdict(dataset) | {"path": str(dataset.path)} for name, dataset in found.items()}
    (new / "data.json").write_text(json.dumps(document))
    shutil.rmtree(output, ignore_errors=True)
    move_into_place(new, output)
    return found


def check_presence(name: str, section: DataSection, source: Path, sources: DataSources) -> None:
    """Raise RejectedError where a data set is neither in the repository nor on the appliance.

    Addresses are not requested here, but when the data set is resolved.
    """
    DatasetResolver(name, section, source, sources, source, discard).check_presence()


def load_previous(output: Path) -> dict[str, DataSet] | None:
    """Return what an earlier attempt of this release resolved, since its training data must not change."""
    done = output / "data.json"
    if not done.exists():
        return None
    document = json.loads(done.read_text())
    found = {name: load_dataset(it) for name, it in document.items()}
    return found if all(dataset.path.exists() for dataset in found.values()) else None


def load_dataset(document: dict[str, Any]) -> DataSet:
    period = RecordedPeriod(**document["recorded"]) if document.get("recorded") else None
    return DataSet(**{**document, "path": Path(document["path"]), "recorded": period})


@dataclass(frozen=True)
class DatasetResolver:
    """The resolution of one data set, from any source."""

    name: str
    section: DataSection
    source: Path
    sources: DataSources
    output: Path
    log_line: LogLine

    def check_presence(self) -> None:
        if self.is_recorded:
            self.check_granted()
        elif self.named is not None:
            if not SCHEME_PATTERN.match(self.named):
                self.check_named(self.named)
        elif os.path.lexists(self.source / self.default_path):
            self.check_named(self.default_path)
        elif not self.own_path.is_file():
            raise self.to_missing_error()

    @property
    def named(self) -> str | None:
        return self.section.find_address(self.name)

    @property
    def is_recorded(self) -> bool:
        return is_recorded(self.named)

    def check_granted(self) -> None:
        """Raise RejectedError where the operator has not allowed it: the repository alone cannot."""
        if not self.sources.may_use_recorded:
            raise RejectedError(
                f"slipway.toml has slipway://recorded as [data] {self.name}, and the operator has to allow "
                f"that: recorded = true in the section [{self.sources.folders.own.name}] of models.toml"
            )

    @property
    def default_path(self) -> str:
        return f"data/{self.name}.csv"

    @property
    def own_path(self) -> Path:
        """The file in the model's folder on the appliance, where neither names another."""
        return self.sources.folders.own / f"{self.name}.csv"

    def resolve_dataset(self) -> DataSet:
        named = self.named
        if self.is_recorded:
            return self.from_recorded()
        if named is not None:
            return self.from_address(named) if SCHEME_PATTERN.match(named) else self.from_repository(named)
        if os.path.lexists(self.source / self.default_path):
            return self.from_repository(self.default_path, "csv")
        origin = self.find_origin()
        assert origin is not None
        return self.from_origin(origin, f"{self.own_path} on the appliance", "csv")

    def find_origin(self) -> Origin | None:
        """Return the origin of this data set outside; None where it is in the repository, or recorded."""
        if self.is_recorded:
            return None
        if self.named is not None:
            return self.sources.open_origin(self.named) if SCHEME_PATTERN.match(self.named) else None
        if os.path.lexists(self.source / self.default_path):
            return None
        if not (path := self.own_path).is_file():
            raise self.to_missing_error()
        return LocalFile(self.sources.folders.resolve_readable(path, f"{path} on the appliance"), path)

    def to_missing_error(self) -> RejectedError:
        return RejectedError(
            f"there is no {self.name} data: put it at data/{self.name}.csv in the repository, or name it as "
            f"[data] {self.name} in slipway.toml, or put it on the appliance at {self.own_path} "
            "(SLIPWAY_DATA)"
        )

    @property
    def pin(self) -> str | None:
        found: str | None = getattr(self.section.sha256, self.name)
        return found

    def check_named(self, named: str) -> Path:
        """Return the file of the repository, when it exists and is no pointer of Git LFS."""
        path, export = self.source / named, find_export(self.source)
        is_outside = not is_inside(path, export)
        if is_outside and named.startswith("..") and not path.is_symlink():
            raise RejectedError(
                f"slipway.toml names {named} as [data] {self.name}, which is not in the repository"
            )
        if not path.exists():
            raise RejectedError(
                f"slipway.toml names {named} as [data] {self.name}, and the repository has no such file"
            )
        if is_outside:
            raise RejectedError(f"{named} is a link out of the repository")
        if (read_start(path.resolve(), len(LFS_PREFIX)) or b"") == LFS_PREFIX:
            raise to_pointer_error(named)
        return path

    def from_repository(self, named: str, file_format: str | None = None) -> DataSet:
        path = self.check_named(named)
        return self.from_path(path, f"{named} in the repository", file_format or self.section.format)

    def from_address(self, address: str) -> DataSet:
        origin = self.sources.open_origin(address)
        if isinstance(origin, LocalFile) and origin.path.is_dir():
            return self.from_path(origin.path, f"{origin.path} on the appliance", self.section.format)
        return self.from_origin(origin, mask_address(address), self.section.format)

    def from_path(self, path: Path, location: str, file_format: str) -> DataSet:
        if path.is_dir() and file_format != "path":
            raise RejectedError(
                f'{location} is a folder, and only format = "path" in [data] hands over folders'
            )
        in_repository = path.is_relative_to(self.source)
        folders = (find_export(self.source),) if in_repository else self.sources.folders.readable
        sha256, size = compute_fingerprint(path, location, folders)
        if self.pin and self.pin != sha256:
            raise to_digest_error(location, sha256, self.pin)
        self.log_line(f"{location}: {size} bytes, sha256 {sha256}")
        return DataSet(path, file_format, sha256, size, location)

    def from_origin(self, origin: Origin, location: str, file_format: str) -> DataSet:
        """Fetch into the cache, and link the file where the model may read it under a recognizable name."""
        stored = self.sources.cache.get(origin, self.pin, self.log_line)
        name = Path(self.name, safe_file_name(origin.address))
        target = self.output.with_name(f"{self.output.name}.new") / name
        target.parent.mkdir()
        try:
            target.hardlink_to(stored.path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(stored.path, target)
            target.chmod(0o444)
        return DataSet(self.output / name, file_format, stored.sha256, stored.size, location)

    def from_recorded(self) -> DataSet:
        """Write the recorded rows where only this release may read them: they are in no cache."""
        self.check_granted()
        if self.sources.recorded is None:
            raise RejectedError("recorded requests are on the appliance, and `slipway check` has none")
        folder = self.output.with_name(f"{self.output.name}.new") / RECORDED_FOLDER
        limits = self.sources.cache.limits
        file, period = self.sources.recorded.write(self.name, folder, limits.size, self.log_line)
        sha256, size = compute_fingerprint(file, file.name, (folder,))
        self.log_line(f"{period.rows} rows from {period.begin} to {period.end}, sha256 {sha256}")
        path = self.output / RECORDED_FOLDER / file.name
        return DataSet(path, self.section.format, sha256, size, self.named or "", period)
