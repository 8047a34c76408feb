"""Whether a release's data has changed at its origins, by what these report of it; nothing is fetched."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import RejectedError
from ml.manifest import DataSection
from ml.sources.datasets import DATASET_NAMES, DatasetResolver, DataSources
from ml.sources.fetch.download import get_with_retries
from ml.sources.fetch.local import LocalFile
from ml.sources.fetch.origin import FileVersion, Origin, mask_address
from ml.sources.fingerprint import compute_fingerprint, list_files
from ml.sources.recorded.source import Growth, RecordedPeriod
from ml.stage_log import discard


@dataclass(frozen=True)
class ChangedData:
    """Data that a release was not trained on: a digest of its versions, and a sentence that names it."""

    digest: str
    reason: str


def find_changed_data(
    section: DataSection, source: Path, sources: DataSources, release: int, used: Mapping[str, Any]
) -> ChangedData | None:
    """Return what has changed since a release used it; None where nothing has.

    Files of the repository and those with a digest in `[data]` do not change. Raises `RejectedError` and
    `UnavailableError` as fetching does.
    """
    versions, changed = [f"release {release}"], []
    for name in DATASET_NAMES:
        resolver = DatasetResolver(name, section, source, sources, source, discard)
        if name == "train" and resolver.is_recorded:
            growth = find_growth(resolver, used.get(name, {}))
            versions.append(f"{name} {growth.step}")
            changed += [f"{name} ({growth.rows} or more recorded rows have new ground truth)"] * growth.is_new
        origin = None if resolver.pin else resolver.find_origin()
        if origin is None:
            continue
        version, sha256 = find_version(origin, resolver)
        versions.append(f"{name} {version}")
        if sha256 is None or sha256 != used.get(name, {}).get("sha256"):
            changed.append(f"{name} ({mask_address(origin.address)})")
    if not changed:
        return None
    digest = hashlib.sha256("\n".join(versions).encode()).hexdigest()
    return ChangedData(digest, f"the data has changed: {', '.join(changed)}")


def find_growth(resolver: DatasetResolver, used: Mapping[str, Any]) -> Growth:
    """Return how many rows have been added to recorded ones that a release used."""
    resolver.check_granted()
    period, recorded = used.get("recorded"), resolver.sources.recorded
    if period is None or recorded is None:
        return Growth()
    return recorded.find_growth(RecordedPeriod(**period))


def find_version(origin: Origin, resolver: DatasetResolver) -> tuple[str, str | None]:
    """Return what identifies the current version, and its sha256 where that is known without fetching it."""
    if isinstance(origin, LocalFile) and origin.path.is_dir():
        return find_folder_version(origin.path, resolver)
    name = mask_address(origin.address)
    version = get_with_retries(origin.get_version, name, discard)
    if version == FileVersion():
        raise RejectedError(
            f"{name} tells neither an ETag nor a date nor a size, so that no change of it can be seen: "
            "serve it by a server that does, or set on_data = false"
        )
    stored = resolver.sources.cache.find_metadata(origin)
    has_identity = version.etag or version.modified
    is_same = stored is not None and (
        version.is_same(stored.version) if has_identity else version.size == stored.version.size
    )
    return repr(version), stored.sha256 if stored and is_same else None


def find_folder_version(folder: Path, resolver: DatasetResolver) -> tuple[str, str | None]:
    """Return the digest of a folder, whose files are read, as one of them may have any time."""
    location = f"{folder} on the appliance"
    if not any(file.is_file() for file in list_files(folder)):
        raise RejectedError(f"{location} is empty")
    sha256, _ = compute_fingerprint(folder, location, resolver.sources.folders.readable)
    return sha256, sha256
