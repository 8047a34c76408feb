"""Two releases side by side: metrics, and what differs in slipway.toml, environment and data."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.models import Release
from ml.api.documents import change
from ml.api.metrics import in_order
from ml.environments.locks import packages_of
from ml.home import Home
from ml.plain_file import read_start

LINES, BYTES = 3000, 256 << 10  # of each side, at most


@dataclass(frozen=True)
class Difference:
    what: str
    lines: list[str]  # as `diff -u` says them; none where nothing differs
    unknown: str = ""  # why it cannot be said


@dataclass(frozen=True)
class Beside:
    other: Release
    metrics: list[tuple[str, float | None, float | None, float | None]]  # name, this, other, change
    differences: list[Difference]


def beside(home: Home, this: Release, other: Release) -> Beside:
    """`other` is what this release is held against. Reads two small files."""
    ours, theirs = in_order(this) or {}, other.metrics or {}
    metrics = [
        (name, mine, its, change(mine, its) if mine is not None and its is not None else None)
        for name in dict.fromkeys([*ours, *theirs])
        for mine, its in [(ours.get(name), theirs.get(name))]
    ]
    return Beside(
        other,
        metrics,
        [
            manifests(home, this, other),
            between("the environment", packages_of(other.lock or ""), packages_of(this.lock or "")),
            between("the data", said(other.data), said(this.data)),
        ],
    )


def manifests(home: Home, this: Release, other: Release) -> Difference:
    for release in (this, other):
        if not home.source(release.id).is_dir():
            gone = (
                f"of release {release.id} only the logs are kept: its files went when it ended or was pruned"
            )
            return Difference("slipway.toml", [], gone)
    old, new = (text(home.source(release.id) / "slipway.toml") for release in (other, this))
    return between("slipway.toml", old, new)


def between(what: str, old: list[str], new: list[str]) -> Difference:
    lines = difflib.unified_diff(old[:LINES], new[:LINES], n=1, lineterm="")
    return Difference(what, list(lines)[2:])


def said(data: dict[str, Any] | None) -> list[str]:
    return json.dumps(data, indent=1, sort_keys=True).splitlines() if data else []


def text(path: Path) -> list[str]:
    """The file's lines; none where there is no file. The repository is foreign: no link is followed."""
    return (read_start(path, BYTES) or b"").decode(errors="replace").splitlines()
