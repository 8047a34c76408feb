"""Data: the training and test sets, found and fingerprinted."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.errors import Rejected
from ml.manifest import DataSection


@dataclass(frozen=True)
class DataSet:
    path: Path
    format: str  # csv, parquet, json or path
    sha256: str

    def question(self) -> dict[str, str]:
        """As `ml/model` is told of it."""
        return {"path": str(self.path), "format": self.format}


@dataclass(frozen=True)
class DataSets:
    train: DataSet
    test: DataSet

    def facts(self) -> dict[str, Any]:
        """What is kept with the release."""
        return {name: {"sha256": ds.sha256} for name, ds in (("train", self.train), ("test", self.test))}


def find(section: DataSection, source: Path, appliance: Path) -> DataSets:
    """What `[data]` names, else data/*.csv in the repository, else what the folder `appliance` holds."""
    return DataSets(one("train", section, source, appliance), one("test", section, source, appliance))


def one(name: str, section: DataSection, source: Path, appliance: Path) -> DataSet:
    named = section.train if name == "train" else section.test
    if named is not None:
        path = source / named
        if not path.exists():
            raise Rejected(
                f"slipway.toml names {named} as [data] {name}, and the repository has no such file"
            )
        return described(path, section.format)
    for path in (source / f"data/{name}.csv", appliance / f"{name}.csv"):
        if path.is_file():
            return described(path, "csv")
    raise Rejected(
        f"there is no {name} data: put it at data/{name}.csv in the repository, or name it as [data] {name} "
        f"in slipway.toml, or put it on the appliance at {appliance}/{name}.csv (SLIPWAY_DATA)"
    )


def described(path: Path, form: str) -> DataSet:
    """A file's digest is of its bytes; a folder's is of its files' names and bytes."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return DataSet(path, form, digest.hexdigest())
