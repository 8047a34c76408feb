"""The comparison of two releases: metrics, and differences in slipway.toml, environment and data."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.figures import relative_change
from common.system.plain_file import read_start
from db.models import Release
from ml.environments.locks import list_packages
from ml.paths import HomeLayout
from ml.web.metric_order import order_metrics

MAX_LINES, MAX_BYTES = 3000, 256 << 10  # of each side, at most


@dataclass(frozen=True)
class SectionDiff:
    what: str
    lines: list[str]  # as `diff -u` prints them; none where nothing differs
    unknown: str = ""  # why it cannot be compared


@dataclass(frozen=True)
class ReleaseDiff:
    other: Release
    metrics: list[tuple[str, float | None, float | None, float | None]]  # name, this, other, change
    differences: list[SectionDiff]


def compare_releases(home: HomeLayout, this: Release, other: Release) -> ReleaseDiff:
    """Compare a release with `other`; reads two small files."""
    ours, theirs = order_metrics(this) or {}, other.metrics or {}
    metrics = [
        (name, mine, its, relative_change(mine, its) if mine is not None and its is not None else None)
        for name in dict.fromkeys([*ours, *theirs])
        for mine, its in [(ours.get(name), theirs.get(name))]
    ]
    return ReleaseDiff(
        other,
        metrics,
        [
            diff_manifests(home, this, other),
            diff_lines("the environment", list_packages(other.lock or ""), list_packages(this.lock or "")),
            diff_lines("the data", format_metadata(other.data), format_metadata(this.data)),
        ],
    )


def diff_manifests(home: HomeLayout, this: Release, other: Release) -> SectionDiff:
    for release in (this, other):
        if not home.source_path(release.id).is_dir():
            gone = f"only the logs of release {release.id} are left: its files are removed"
            return SectionDiff("slipway.toml", [], gone)
    old, new = (read_lines(home.source_path(release.id) / "slipway.toml") for release in (other, this))
    return diff_lines("slipway.toml", old, new)


def diff_lines(what: str, old: list[str], new: list[str]) -> SectionDiff:
    lines = difflib.unified_diff(old[:MAX_LINES], new[:MAX_LINES], n=1, lineterm="")
    return SectionDiff(what, list(lines)[2:])


def format_metadata(data: dict[str, Any] | None) -> list[str]:
    return json.dumps(data, indent=1, sort_keys=True).splitlines() if data else []


def read_lines(path: Path) -> list[str]:
    """Return the file's lines; none without a file. The repository is untrusted: no link is followed."""
    return (read_start(path, MAX_BYTES) or b"").decode(errors="replace").splitlines()
