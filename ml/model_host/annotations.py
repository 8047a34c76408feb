"""The notes of a type, in `Annotated` or in field(metadata=...) of a dataclass: bounds, and descriptions.

A text is a description; a dict has keywords of JSON Schema; of other objects (annotated-types, pydantic's
Field, msgspec's Meta) the attributes of the same meaning are read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .value_bounds import NUMBER_BOUNDS, check_bounds, is_json_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .mismatch import Build

TEXT_KEYWORDS = ("title", "description", "unit")
KEYWORD_BY_ATTRIBUTE = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "documentation": "description",
    **{word: word for word in TEXT_KEYWORDS},
}


def apply_notes(
    described: tuple[dict[str, Any], Build], notes: Iterable[Any]
) -> tuple[dict[str, Any], Build]:
    """Add `notes` to the schema of a type, and check its values against them."""
    schema, build = described
    found = read_notes(notes)
    if not found:
        return described

    def checked(value: Any, place: str) -> Any:
        built = build(value, place)
        check_bounds(value, place, found)
        return built

    return {**schema, **found}, checked


def read_notes(notes: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for note in notes:
        if isinstance(note, str):
            found["description"] = note
        elif hasattr(note, "keys"):
            found.update(note)
        else:
            found.update(
                (word, getattr(note, name, None))
                for name, word in KEYWORD_BY_ATTRIBUTE.items()
                if hasattr(note, name)
            )
            inner = getattr(note, "metadata", None)  # pydantic's Field has its bounds there
            found.update(read_notes(inner) if isinstance(inner, (list, tuple)) else {})
    return {word: value for word, value in found.items() if is_note(word, value)}


def is_note(word: str, value: Any) -> bool:
    if word in TEXT_KEYWORDS:
        return isinstance(value, str)
    return word in NUMBER_BOUNDS and is_json_type(value, "number") and math.isfinite(value)
