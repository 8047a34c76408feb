"""The reuse of a check: a change takes over the model that was trained on the same files."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from common.errors import RejectedError
from common.system.durable import move_into_place
from common.words import join_words
from db import checks, claims, deployments
from db.claims import Claim
from db.models import Release
from db.states import CHANGE_TRIGGERS
from ml.builder.context import BuildContext
from ml.paths import HomeLayout
from ml.runtime.materialize import verify_artifact
from ml.sandbox import rmtree

# folders of what its stages found out, and the file in each
STORED_RESULTS = {
    "train": "artifact.json",
    "evaluate": "scored.json",
    "known": "known.json",
    "drift": "drift.json",
}

Recipe = Mapping[str, str]


@dataclass(frozen=True)
class Reused:
    """The check whose results were taken over, with its comparison; and where one did not fit, why."""

    check: int | None = None
    note: str | None = None
    differences: Mapping[str, Any] | None = None  # of its predictions from those of the release live then


ReuseCheck = Callable[[BuildContext, str, Recipe], Reused]  # of files with this id, made by this recipe
NOTHING = Reused()


def reuse_nothing(_context: BuildContext, _files: str, _recipe: Recipe) -> Reused:
    return NOTHING


def explain_difference(check: int, before: Mapping[str, Any], now: Recipe) -> str | None:
    """Return why what a check trained does not fit; None where it does."""
    differing = [name for name in now if before.get(name) != now[name]]
    if not differing:
        return None
    verb = "differs" if len(differing) == 1 else "differ"
    return f"trained again: {join_words(differing)} {verb} from check {check}'s"


def explain_other_files(check: Release | None) -> Reused:
    """Return why the last check of a pull request is of no use, for its files are others."""
    if check is None:
        return NOTHING
    base = (check.base or "")[:8]
    return Reused(
        note=f"trained again: check {check.id} was of other files, of {check.commit[:8]} merged onto {base}"
    )


def reuse_check(
    sessions: sessionmaker[Session], claim: Claim, context: BuildContext, files: str, recipe: Recipe
) -> Reused:
    """Take over what a check of the same files has trained, where all that it depends on is equal.

    It is one transaction that holds the model's lock: no file of the check is removed meanwhile.
    """
    release = context.release
    if release.trigger not in CHANGE_TRIGGERS or context.parent is not None:
        return NOTHING
    with sessions.begin() as session:
        deployments.lock_model(session, release.model)
        check = checks.find_reusable(session, release, files)
        if check is None:
            return explain_other_files(checks.find_last_passed(session, release))
        if differs := explain_difference(check.id, check.recipe or {}, recipe):
            return Reused(note=differs)
        try:
            take_over(context.home, check, release)
        except (OSError, RejectedError) as error:
            return Reused(note=f"trained again: what check {check.id} trained cannot be read ({error})")
        claims.record_facts(session, claim, trained_by=check.id)
        return Reused(check.id, differences=check.differences)


def take_over(home: HomeLayout, check: Release, release: Release) -> None:
    """Link the trained model of a check as the release's own, and copy what its stages found out.

    Both names are of one file, which stays for as long as one of the releases is kept. May be repeated.
    """
    assert check.artifact is not None
    trained = verify_artifact(home.artifact_path(check.isolation, check.id), check.artifact)
    add_name(trained, home.artifact_path(release.isolation, release.id))
    baseline = home.drift_baseline_path(check.isolation, check.id)
    if baseline.is_file():
        add_name(baseline, home.drift_baseline_path(release.isolation, release.id))
    for name, file in STORED_RESULTS.items():
        stored, folder = home.release_path(check.id) / name / file, home.release_path(release.id) / name
        if stored.is_file() and not folder.exists():
            new = folder.with_name(f"{folder.name}.new")
            rmtree.remove_tree(new)
            new.mkdir(parents=True)
            shutil.copyfile(stored, new / file)
            move_into_place(new, folder)


def add_name(file: Path, name: Path) -> None:
    """Give a file another name, whole or not at all; a copy where it cannot have two."""
    name.parent.mkdir(parents=True, exist_ok=True)
    new = name.with_name(f"{name.name}.new")
    new.unlink(missing_ok=True)
    link_or_copy(file, new)
    move_into_place(new, name)


def link_or_copy(file: Path, link: Path) -> None:
    """Give a file a second name, or copy it where the disk has one name for a file."""
    try:
        os.link(file, link)
    except OSError:
        shutil.copyfile(file, link, follow_symlinks=False)
