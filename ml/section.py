"""The base of the sections of `slipway.toml` and `models.toml`, and how two of a kind are merged."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


SomeSection = TypeVar("SomeSection", bound=Section)


def merge_sections(first: SomeSection, second: SomeSection) -> SomeSection:
    """Return the values that `first` sets and, for the rest, those that `second` sets."""
    return second.model_copy(update={name: getattr(first, name) for name in first.model_fields_set})
