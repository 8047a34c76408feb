"""What a pull request changes of the manifest that reviewers are to see: rules of the gate, and recording."""

from typing import get_args

from common.errors import RejectedError
from ml import manifest
from ml.manifest import Gate, Manifest
from ml.record_section import FieldRule, RecordSection
from ml.section import Section
from ml.sources.git_merge import BASE_FOLDER
from ml.sources.source_tree import SourceTree

STRICTNESS = get_args(FieldRule).index


def list_changed_rules(fetched: SourceTree) -> tuple[str, ...]:
    """Return the rules of [gate] that a pull request changes, each as it was and as it is."""
    if fetched.base is None:
        return ()
    before, now = read_base(fetched).gate, manifest.read(fetched.path).gate
    return tuple(
        f"{name}: {describe_rule(before, name)} → {describe_rule(now, name)}"
        for name in sorted({*before.metrics, *now.metrics, "predictions"})
        if get_rule(before, name) != get_rule(now, name)
    )


def get_rule(gate: Gate, name: str) -> Section | None:
    return gate.predictions if name == "predictions" else gate.metrics.get(name)


def describe_rule(gate: Gate, name: str) -> str:
    """Return a rule as it is written: `may_worsen_by = 0.05`; or `no rule`."""
    rule = get_rule(gate, name)
    given = rule.model_dump(exclude_unset=True) if rule else {}
    return ", ".join(f"{key} = {value}" for key, value in given.items()) or "no rule"


def read_base(fetched: SourceTree) -> Manifest:
    """Return the manifest of the branch that a pull request is merged onto; an empty one if it is wrong."""
    try:
        return manifest.read(fetched.path.with_name(BASE_FOLDER))
    except RejectedError:
        return Manifest()


def list_changed_recording(fetched: SourceTree) -> tuple[str, ...]:
    """Return what a pull request changes of [record], what makes it record more first."""
    if fetched.base is None:
        return ()
    before, now = read_base(fetched).record, manifest.read(fetched.path).record
    changed = [
        compare(
            "enabled", str(before.enabled).lower(), str(now.enabled).lower(), now.enabled - before.enabled
        ),
        compare("sample", f"{before.sample:g}", f"{now.sample:g}", now.sample - before.sample),
        *(compare_field(name, before, now) for name in sorted({*before.fields, *now.fields})),
    ]
    return tuple(text for _, text in sorted(filter(None, changed), key=lambda one: -one[0]))


def compare_field(name: str, before: RecordSection, now: RecordSection) -> tuple[bool, str] | None:
    old, new = before.fields.get(name, "keep"), now.fields.get(name, "keep")
    return compare(f"fields.{name}", old, new, STRICTNESS(old) - STRICTNESS(new))


def compare(name: str, old: str, new: str, more: float) -> tuple[bool, str] | None:
    """Return whether more is recorded, and a text that says so; None where nothing has changed."""
    if not more:
        return None
    return more > 0, f"{name} = {old} → {new} (records {'more' if more > 0 else 'less'})"
