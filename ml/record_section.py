"""The section [record]: what the request log may store of calls."""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from ml.section import Section, merge_sections

FieldRule = Literal["keep", "hash", "drop"]


class RecordSection(Section):
    """The rules of what the request log stores; `fields` are names in the features, at any depth."""

    enabled: bool = True
    sample: float = Field(1.0, ge=0, le=1, allow_inf_nan=False)  # share of the calls
    fields: dict[Annotated[str, Field(min_length=1, max_length=200)], FieldRule] = Field({}, max_length=1000)

    @property
    def hidden_fields(self) -> Mapping[str, FieldRule]:
        """The fields that are not stored as they are."""
        return {name: rule for name, rule in self.fields.items() if rule != "keep"}

    def with_defaults(self, other: "RecordSection") -> "RecordSection":
        """Return this section, completed by what only `other` sets: key by key, and field by field."""
        merged = merge_sections(self, other)
        return merged.model_copy(update={"fields": {**other.fields, **self.fields}})

    def narrow(self, other: "RecordSection") -> "RecordSection":
        """Return what both sections allow: of each value the one by which less is stored."""
        strictness = get_args(FieldRule).index
        names = {**self.fields, **other.fields}
        rules = [(self.fields.get(name, "keep"), other.fields.get(name, "keep")) for name in names]
        return RecordSection(
            enabled=self.enabled and other.enabled,
            sample=min(self.sample, other.sample),
            fields={name: max(pair, key=strictness) for name, pair in zip(names, rules, strict=True)},
        )


def find_followed(operator: RecordSection, declared: Iterable[Mapping[str, Any]]) -> RecordSection:
    """Return the rules that hold: the operator's, completed by the strictest of the stored sections."""
    sections = map(RecordSection.model_validate, declared)
    return operator.with_defaults(reduce(RecordSection.narrow, sections, RecordSection()))
