"""`slipway.toml`: what a model repository may say about itself; every key is optional."""

import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ml.errors import Rejected

Kind = Literal["regression", "classification", "time-series", "generic"]
LATER = ("gate", "release", "retrain", "resources")  # known words without an effect in this version


def inside(path: str) -> str:
    """A path that stays in the repository."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "://" in path:
        raise ValueError("has to be a path in the repository")
    return path


RepositoryPath = Annotated[str, AfterValidator(inside)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(Section):
    entry_point: str = Field("main:entry_point", pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    type: Kind | None = None


class DataSection(Section):
    train: RepositoryPath | None = None
    test: RepositoryPath | None = None
    format: Literal["csv", "parquet", "json", "path"] = "csv"


class Manifest(Section):
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    ignored: tuple[str, ...] = ()  # sections that were given and have no effect in this version


def read(source: Path) -> Manifest:
    """The manifest of the tree in `source`; `Rejected` with the place and the reason when it is wrong."""
    path = source / "slipway.toml"
    if not path.exists():
        return Manifest()
    try:
        document = tomllib.loads(path.read_text())
        ignored = tuple(name for name in LATER if document.pop(name, None) is not None)
        return Manifest.model_validate({**document, "ignored": ignored})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Rejected(f"slipway.toml is not TOML: {error}") from error
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Rejected(f"slipway.toml: {'; '.join(problems)}") from error


def kind(manifest: Manifest, described: str) -> Kind:
    """The kind of model: as the manifest says, else read loosely from `info()["Type"]`, else generic.

    `described` "Time series regressor" is a time series: the words are tried in this order.
    """
    if manifest.model.type is not None:
        return manifest.model.type
    words: tuple[tuple[str, Kind], ...] = (
        ("series", "time-series"),
        ("class", "classification"),
        ("regress", "regression"),
    )
    return next((found for word, found in words if word in described.lower()), "generic")
