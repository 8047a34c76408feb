"""What `[record.fields]` hides, taken out of rows and of baselines that were made before it was hidden."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ml.monitor.drift.baseline import BaselineError, DriftBaseline
from ml.record_section import FieldRule

HIDDEN = "hidden"  # in place of the value of a hashed field: its length and type are those of no value


def hide_fields(value: Any, rules: Mapping[str, FieldRule]) -> Any:
    """Return a value without the fields to drop, and with one text for all those to hash, at any depth."""
    if not rules:
        return value
    if isinstance(value, list):
        return [hide_fields(one, rules) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: HIDDEN if name in rules else hide_fields(one, rules)
        for name, one in value.items()
        if rules.get(name) != "drop"
    }


def without_columns(baseline: DriftBaseline, hidden: Mapping[str, FieldRule]) -> DriftBaseline:
    """Return a baseline without hidden columns; the same one where it has none of them.

    Raises `BaselineError` where nothing is left.
    """
    if not baseline.has_columns:
        return baseline
    kept = tuple(column for column in baseline.features if column.name not in hidden)
    if len(kept) == len(baseline.features):
        return baseline
    if not kept:
        raise BaselineError("[record.fields] hides all its columns: drift is not measured")
    return replace(baseline, features=kept)
