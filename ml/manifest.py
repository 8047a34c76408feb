"""`slipway.toml`: what a model repository may say about itself; every key is optional."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.following import told
from ml.errors import Rejected
from ml.quantities import Duration, Share, Size
from ml.runner.toml_reader import read_toml

Kind = Literal["regression", "classification", "time-series", "generic"]
LATER = ("retrain",)  # read and checked, and without an effect in this version
MAX_BYTES = 64 << 10
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def place(text: str) -> str:
    """A path that stays in the repository, or an address."""
    if SCHEME.match(text):
        return text
    if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts or not text.strip("./ "):
        raise ValueError("has to be a path in the repository, or an address as https://…, s3://… or file://…")
    return text


def digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("has to be a SHA-256 of 64 hexadecimal digits, as sha256sum prints it")
    return text.lower()


Place = Annotated[str, AfterValidator(place)]
Digest = Annotated[str, AfterValidator(digest)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


SomeSection = TypeVar("SomeSection", bound=Section)


class ModelSection(Section):
    entry_point: str = Field("main:entry_point", pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    type: Kind | None = None


class Digests(Section):
    train: Digest | None = None
    test: Digest | None = None


class DataSection(Section):
    train: Place | None = None
    test: Place | None = None
    sha256: Digests = Digests()
    format: Literal["csv", "parquet", "json", "path"] = "csv"


class Bar(Section):
    """What one metric has to reach."""

    better: Literal["lower", "higher"] | None = None
    max: Finite | None = None
    min: Finite | None = None
    may_worsen_by: Share | None = None  # 0.05: by 5 % of what the live release has

    @model_validator(mode="after")
    def can_be_reached(self) -> Self:
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: nothing could pass")
        return self


class Difference(Section):
    may_differ: Share  # 0.2: one prediction in five


class Gate(Section):
    """`[gate]`: a key for each metric, and `predictions`, which is no metric."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Bar] = Field(init=False)

    predictions: Difference | None = None

    @property
    def metrics(self) -> Mapping[str, Bar]:
        return self.__pydantic_extra__

    def over(self, other: "Gate") -> "Gate":
        """This one, and what only the `other` says: key by key, also within one metric."""
        said = {name: other.metrics.get(name, Bar()) for name in (*other.metrics, *self.metrics)}
        bars = {name: combined(self.metrics.get(name, Bar()), bar) for name, bar in said.items()}
        return Gate.model_validate({**bars, "predictions": self.predictions or other.predictions})


class ReleaseSection(Section):
    on: Literal["merge", "tag"] = "merge"
    promote: Literal["automatic", "manual"] = "automatic"


class RetrainSection(Section):
    schedule: str | None = Field(None, pattern=r"^\s*\S+(\s+\S+){4}\s*$")  # as cron has it: "0 3 * * 1"
    drift: bool = False


class Resources(Section):
    train_timeout: Duration | None = None  # seconds
    load_timeout: Duration | None = None  # seconds
    memory: Size | None = None  # bytes

    def over(self, other: "Resources") -> "Resources":
        """This one, and what only the `other` says."""
        return combined(self, other)


class Manifest(Section):
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    gate: Gate = Gate()
    release: ReleaseSection = ReleaseSection()
    retrain: RetrainSection = RetrainSection()
    resources: Resources = Resources()

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Sections that were given and do nothing in this version."""
        return tuple(name for name in LATER if name in self.model_fields_set)


def combined(first: SomeSection, second: SomeSection) -> SomeSection:
    """What `first` says, and where it says nothing, what `second` says."""
    return second.model_copy(update={name: getattr(first, name) for name in first.model_fields_set})


def read(source: Path) -> Manifest:
    """The manifest of the tree in `source`; `Rejected` with the place and the reason when it is wrong."""
    path = source / "slipway.toml"
    if not path.is_symlink() and not path.exists():
        return Manifest()
    try:
        return Manifest.model_validate(read_toml(path, MAX_BYTES))
    except ValidationError as error:
        raise Rejected(f"slipway.toml: {told(error)}") from error


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
