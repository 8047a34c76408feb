"""The errors of features: all of them at once, each with its place."""

from __future__ import annotations

import typing
from typing import Any

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # a JSON value and its place → the model's value; raises FeatureValidationError
    Build = Callable[[Any, str], Any]

MAX_FIELD_ERRORS = 20  # that are reported of one row


class FeatureValidationError(ValueError):
    """Features that are not of the type that the model takes; the text names each place.

    `errors` are the places, each with its error.
    """

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__("; ".join(text for _, text in faults))
        self.errors = faults


def build_all(parts: list[tuple[Build, Any, str]], errors: Sequence[tuple[str, str]] = ()) -> list[Any]:
    """Build each part; raises one `FeatureValidationError` with `errors` and the errors of all parts."""
    found, built = list(errors), []
    for build, value, place in parts:
        try:
            built.append(build(value, place))
        except FeatureValidationError as mismatch:
            found += mismatch.errors
            if len(found) >= MAX_FIELD_ERRORS:
                break
    if found:
        raise FeatureValidationError(*found[:MAX_FIELD_ERRORS])
    return built


def combine_alternatives(errors: list[FeatureValidationError], place: str) -> FeatureValidationError:
    """Return one error for a value that fits none of several types; of a single type, its own error."""
    return errors[0] if len(errors) == 1 else FeatureValidationError((place, " or ".join(map(str, errors))))


def find_name_errors(
    place: str, allowed: list[str], needed: list[str], value: dict[str, Any]
) -> list[tuple[str, str]]:
    """Return the errors of an object's names: those that are missing, and the unknown ones."""
    missing = [join_path(place, name) for name in needed if name not in value]
    strange = [join_path(place, name) for name in value if name not in allowed]
    there_is = f"there is {', '.join(allowed)}"
    return [(where, f"{where} is missing") for where in missing] + [
        (where, f"{where} is not known: {there_is}") for where in strange
    ]


def join_path(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def validation_error(place: str, expected: str, value: Any) -> FeatureValidationError:
    got = repr(value)
    got = got if len(got) < 60 else got[:60] + "…"
    return FeatureValidationError((place, f"{place or 'features'} has to be {expected}, not {got}"))
