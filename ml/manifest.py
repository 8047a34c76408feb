"""The schema of `slipway.toml`, the settings of a model repository; every key is optional."""

import re
from collections.abc import Mapping
from itertools import dropwhile
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from common.errors import RejectedError
from common.models_file import format_errors
from common.units import Duration, Share, Size
from ml.readers.toml_reader import read_toml
from ml.record_section import RecordSection
from ml.recorded_address import is_recorded, parse_recorded
from ml.retrain_section import RetrainSection
from ml.section import Section, merge_sections

ModelKind = Literal["regression", "classification", "time-series", "generic"]
OPERATORS_SECTION = "checks"  # of models.toml alone: a pull request would decide who is trusted
MAX_BYTES = 64 << 10
# share of the larger of two numbers: a smaller difference is rounding noise of sums in another order
TOLERANCE = 1e-6
SCHEME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def check_place(text: str) -> str:
    """Return `text` when it is a path inside the repository or a URL.

    It may begin with `..`, to another folder of the repository than the model's: what reads the file refuses
    one outside.
    """
    if is_recorded(text):
        parse_recorded(text)
    if SCHEME_PATTERN.match(text):
        return text
    path = PurePosixPath(text)
    has_way_back = ".." in [*dropwhile(lambda part: part == "..", path.parts)]
    if path.is_absolute() or has_way_back or not text.strip("./ "):
        raise ValueError("has to be a path in the repository, or an address as https://…, s3://… or file://…")
    return text


def check_digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("has to be a SHA-256 of 64 hexadecimal digits, as sha256sum prints it")
    return text.lower()


def check_path(text: str) -> str:
    if SCHEME_PATTERN.match(text) or check_place(text).startswith("-"):
        raise ValueError("has to be a path in the repository, as requirements-test.txt")
    return text


# without control characters: it stands in logs
PLAIN_PATTERN = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
Command = Annotated[str, Field(max_length=1000, pattern=PLAIN_PATTERN)]
RepositoryPath = Annotated[str, Field(max_length=500, pattern=PLAIN_PATTERN), AfterValidator(check_path)]
DataPlace = Annotated[str, AfterValidator(check_place)]
Digest = Annotated[str, AfterValidator(check_digest)]
ColumnName = Annotated[str, Field(max_length=200, pattern=PLAIN_PATTERN)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class ModelSection(Section):
    entry_point: str = Field("main:entry_point", pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    type: ModelKind | None = None
    target: ColumnName | None = None  # the column of the data that is predicted


class Digests(Section):
    train: Digest | None = None
    test: Digest | None = None


class DataSection(Section):
    train: DataPlace | None = None
    test: DataPlace | None = None
    sha256: Digests = Digests()
    format: Literal["csv", "parquet", "json", "path"] = "csv"

    def find_address(self, name: str) -> str | None:
        """Return what is named as `train` or `test`; recorded rows that train it also test it by default."""
        if name == "test" and self.test is None and is_recorded(self.train):
            return self.train
        named: str | None = getattr(self, name)
        return named

    @property
    def has_recorded(self) -> bool:
        return is_recorded(self.train) or is_recorded(self.test)

    @model_validator(mode="after")
    def check_recorded(self) -> Self:
        if self.has_recorded and self.format == "parquet":
            raise ValueError('recorded requests are written as "csv" or "json", not as "parquet"')
        for name in ("train", "test"):
            if is_recorded(self.find_address(name)) and getattr(self.sha256, name):
                raise ValueError(f"sha256: recorded requests change: remove the digest of {name}")
        return self


class MetricRule(Section):
    """The bounds that one metric has to meet."""

    better: Literal["lower", "higher"] | None = None
    max: Finite | None = None
    min: Finite | None = None
    may_worsen_by: Share | None = None  # 0.05: by 5 % of the live release's value

    @model_validator(mode="after")
    def check_reachable(self) -> Self:
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: nothing could pass")
        return self


class PredictionRule(Section):
    may_differ: Share  # 0.2: one prediction in five
    tolerance: Share = TOLERANCE  # 0.01: numbers that differ by 1 % of the larger one are the same


class Gate(Section):
    """The section `[gate]`: a key for each metric, and `predictions`, which is no metric."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, MetricRule] = Field(init=False)

    predictions: PredictionRule | None = None

    @property
    def metrics(self) -> Mapping[str, MetricRule]:
        return self.__pydantic_extra__

    def with_defaults(self, other: "Gate") -> "Gate":
        """Return this gate, completed by what only `other` sets: key by key, also within one metric."""
        defaults = {name: other.metrics.get(name, MetricRule()) for name in (*other.metrics, *self.metrics)}
        rules = {
            name: merge_sections(self.metrics.get(name, MetricRule()), default)
            for name, default in defaults.items()
        }
        return Gate.model_validate({**rules, "predictions": self.predictions or other.predictions})


class ReleaseSection(Section):
    on: Literal["merge", "push", "tag"] = "merge"
    promote: Literal["automatic", "manual"] = "automatic"


class TestSection(Section):
    """The repository's own tests; commands are run by a shell."""

    command: Command | None = None  # before training
    after_train: Command | None = None
    requirements: RepositoryPath | None = None  # a requirements.txt of packages that only tests need


class Resources(Section):
    train_timeout: Duration | None = None  # seconds
    load_timeout: Duration | None = None  # seconds
    memory: Size | None = None  # bytes

    def with_defaults(self, other: "Resources") -> "Resources":
        """Return these resources, completed by what only `other` sets."""
        return merge_sections(self, other)


class Manifest(Section):
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    gate: Gate = Gate()
    release: ReleaseSection = ReleaseSection()
    test: TestSection = TestSection()
    retrain: RetrainSection = RetrainSection()
    record: RecordSection = RecordSection()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def check_target(self) -> Self:
        if self.data.has_recorded and self.model.target is None:
            raise ValueError(
                "recorded requests as [data] need the name of the column that is predicted: [model] target"
            )
        return self


def read(source: Path) -> Manifest:
    """Return the manifest of the tree in `source`, or the defaults when it has none.

    Raises `RejectedError` with the place and the reason when the manifest is invalid.
    """
    path = source / "slipway.toml"
    if not path.is_symlink() and not path.exists():
        return Manifest()
    document = read_toml(path, MAX_BYTES)
    if OPERATORS_SECTION in document:
        raise RejectedError(
            f"slipway.toml: {OPERATORS_SECTION}: only the operator sets it, in models.toml: remove it"
        )
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        raise RejectedError(f"slipway.toml: {format_errors(error)}") from error


def detect_kind(manifest: Manifest, description: str) -> ModelKind:
    """Return the kind of model: from the manifest, else guessed from `info()["Type"]`, else generic.

    "Time series regressor" is a time series: the words are tried in this order.
    """
    if manifest.model.type is not None:
        return manifest.model.type
    words: tuple[tuple[str, ModelKind], ...] = (
        ("series", "time-series"),
        ("class", "classification"),
        ("regress", "regression"),
    )
    return next((found for word, found in words if word in description.lower()), "generic")
