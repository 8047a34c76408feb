"""The comparison of a check with the live release: each in its own folder, and little of what users sent."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from db.models import Deployment, StageName
from db.request_log import ReplayableRequest
from db.states import Trigger
from ml.builder.context import BuildContext
from ml.builder.prediction_diff import OF_TEST_DATA, RECORDED
from ml.builder.reuse import link_or_copy
from ml.runtime.materialize import RunnableRelease
from ml.sandbox import rmtree
from ml.sources.datasets import DataSet


@dataclass(frozen=True)
class ComparedRequests:
    """The requests that are compared, what they are, and the ids of recorded ones."""

    features: Sequence[Any]
    inputs: str
    ids: Sequence[str] = ()


@contextmanager
def open_live_folder(context: BuildContext, live: Deployment | None) -> Iterator[Path]:
    """Yield a folder where the live release may work: a check's own is closed to it."""
    if context.release.trigger is not Trigger.CHECK or live is None:
        yield context.folder
        return
    folder = context.home.release_path(live.release_id) / f"check-{context.release.id}"
    try:
        yield folder
    finally:
        rmtree.remove_tree(folder)


def share_data(data: DataSet, folder: Path) -> DataSet:
    """Return a data set whose files have a second name in `folder`, or are copied to it."""
    shared = folder / "test" / data.path.name
    rmtree.remove_tree(shared.parent)
    shared.parent.mkdir(parents=True)
    if data.path.is_dir():
        shutil.copytree(data.path, shared, symlinks=True, copy_function=link_or_copy)  # type: ignore[arg-type]  # both take paths
    else:
        link_or_copy(data.path, shared)
    return replace(data, path=shared)


def choose_requests(
    context: BuildContext, recorded: Sequence[ReplayableRequest], of_test_data: Sequence[Any] | None
) -> ComparedRequests:
    """Return the requests to compare on: a fork's code gets none that users sent.

    A check is compared on rows of the test data as well where none are recorded.
    """
    may_show = context.model.may_show_requests(context.release)
    if context.release.trigger is Trigger.CHECK and not (may_show and recorded):
        return ComparedRequests(of_test_data or (), OF_TEST_DATA)
    features = [request.features for request in recorded]
    return ComparedRequests(features, RECORDED, [str(request.id) for request in recorded])


@contextmanager
def hide_traces(context: BuildContext, candidate: RunnableRelease) -> Iterator[tuple[RunnableRelease, Path]]:
    """Yield a release to ask, and its log; of a check's code nothing that it writes or prints stays."""
    if context.release.trigger is not Trigger.CHECK:
        yield candidate, context.log_path(StageName.GATE)
        return
    scratch, log = context.folder / "replay", context.folder / "replay.log"
    try:
        yield replace(candidate, runtime=replace(candidate.runtime, scratch=scratch)), log
    finally:
        rmtree.remove_tree(scratch)
        log.unlink(missing_ok=True)
