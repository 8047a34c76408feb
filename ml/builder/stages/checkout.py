"""The stage `checkout`: the commit's files and its manifest, checked before anything is built."""

from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import RejectedError
from db.claims import MAX_ATTEMPTS
from db.states import CHANGE_TRIGGERS, Trigger
from ml import manifest
from ml.builder import manifest_changes, preflight
from ml.builder.context import BuildContext
from ml.builder.stages.result import StageResult
from ml.builder.untouched import explain_untouched
from ml.manifest import Manifest
from ml.sources import datasets, source_tree
from ml.sources.source_tree import SourceTree
from ml.stage_log import LogLine


@dataclass(frozen=True, kw_only=True)
class CheckoutResult(StageResult):
    """The source tree of a release, and its manifest with the operator's overrides applied."""

    source: Path
    manifest: Manifest
    files: str | None  # an id of the files
    changed_rules: tuple[str, ...] = ()  # of [gate], that a pull request changes
    changed_recording: tuple[str, ...] = ()  # of [record], likewise
    needs_tag: bool = False  # a tag releases this model, and the release is of a merge or a push
    untouched: str | None = None  # why nothing is to be built


def run(context: BuildContext, log_line: LogLine) -> CheckoutResult:
    release = context.release
    if release.attempts > 1:
        log_line(f"try number {release.attempts}: stages that were done before are not done again")
    fetched = fetch_source(context, log_line)
    unchecked = CheckoutResult(
        source=fetched.path,
        manifest=Manifest(),
        files=fetched.files,
        untouched=explain_untouched(context, fetched),
        facts={
            "path": context.model.path,
            "paths": list(context.model.paths),
            **{name: getattr(fetched, name) for name in ("tree", "files", "base")},
        },
    )
    if unchecked.untouched:
        log_line(unchecked.untouched)
        return unchecked
    try:
        return add_manifest(unchecked, context, fetched, log_line)
    except RejectedError as fault:  # what was fetched is recorded: the same files are not built again
        return replace(unchecked, failure=fault)


def add_manifest(
    unchecked: CheckoutResult, context: BuildContext, fetched: SourceTree, log_line: LogLine
) -> CheckoutResult:
    """Return the result with the manifest, which has been checked. Raises `RejectedError`."""
    checked = check_source(context, fetched.path, log_line)
    facts = {
        "entry_point": checked.model.entry_point,
        "release_on": checked.release.on,
        "retrain": checked.retrain.to_document() or None,
        "record": checked.record.model_dump(exclude_unset=True),
    }
    return replace(
        unchecked,
        manifest=checked,
        changed_rules=manifest_changes.list_changed_rules(fetched),
        changed_recording=manifest_changes.list_changed_recording(fetched),
        needs_tag=needs_tag(context, checked),
        facts={**unchecked.facts, **facts},
    )


def fetch_source(context: BuildContext, log_line: LogLine) -> SourceTree:
    """Check out the files of the release.

    A commit that was merged or tagged may still reach the git server, until the last attempt.
    """
    release = context.release
    may_appear = release.trigger in (*CHANGE_TRIGGERS, Trigger.TAG) and release.attempts < MAX_ATTEMPTS
    return source_tree.checkout_release(
        context.settings, context.model, release, log_line, may_appear=may_appear
    )


def check_source(context: BuildContext, source: Path, log_line: LogLine) -> Manifest:
    """Return the manifest; raises `RejectedError` with every problem that the repository shows.

    A merge that is not to be released is not checked any further.
    """
    problems = []
    try:
        declared = read_manifest(context, source)
        if needs_tag(context, declared):
            return declared
    except RejectedError as fault:
        declared = Manifest()
        problems.append(str(fault))
    sources = datasets.data_sources(context.settings, context.model.name)
    preflight.check_repository(source, declared, sources, problems)
    if pointers := preflight.describe_pointers(source):
        log_line(pointers)
    return declared


def read_manifest(context: BuildContext, source: Path) -> Manifest:
    """Return the repository's manifest with the operator's overrides applied."""
    declared = manifest.read(source)
    gate = context.model.operator_gate.with_defaults(declared.gate)
    resources = context.model.resources.with_defaults(declared.resources)
    return declared.model_copy(update={"gate": gate, "resources": resources})


def needs_tag(context: BuildContext, declared: Manifest) -> bool:
    return declared.release.on == "tag" and context.release.trigger in CHANGE_TRIGGERS
