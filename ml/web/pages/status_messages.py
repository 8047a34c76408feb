"""The sentences of the overview that say what happens to a model, and what waits for a person."""

from collections.abc import Sequence
from datetime import datetime

from db.models import Release
from db.states import Status
from ml.serving.registry import ServedModel
from ml.settings import ModelConfig
from ml.web.pages.render import format_duration

NOT_PROBED_MESSAGE = (
    "Slipway tried no prediction of release {} before it went live, as it does not know its features. "
    "Add examples() to its main.py"
)
NO_MERGE_MESSAGE = (
    "No pull request has been merged into {} yet; POST /checkout of the vcs service looks for one."
)
NO_PUSH_MESSAGE = "Nothing has been pushed to {} yet; POST /checkout of the vcs service looks for it."


def build_status_messages(
    served: ServedModel,
    newest: Sequence[Release],
    building: Release | None,
    failed: dict[int, str],
    now: datetime,
) -> list[str]:
    """Return status sentences, most urgent first."""
    messages = []
    if served.activity:
        messages.append(f"In progress: {served.activity}")
    if building is not None:
        messages.append(f"Building {format_release_name(building)}{describe_stage(building, now)}")
    if newest and (word := describe_newest(newest[0], failed.get(newest[0].id))):
        name = format_release_name(newest[0])
        messages.append(f"{name[0].upper()}{name[1:]} {word}")
    if served.error:
        messages.append(served.error)
    if served.live is not None and not served.live.was_probed:
        messages.append(NOT_PROBED_MESSAGE.format(served.live.release.id))
    if not newest and served.live is None:
        messages.append(format_no_release(served.model))
    return [sentence if sentence.endswith((".", "?", "!")) else f"{sentence}." for sentence in messages]


def describe_newest(release: Release, not_started: str | None) -> str | None:
    """Return the outcome of the newest release when it needs attention."""
    if not_started is not None:
        return f"failed to start: {not_started}"
    match release.status:
        case Status.QUEUED:
            return f"waits: {release.reason}" if release.reason else "waits for its turn"
        case Status.REJECTED | Status.FAILED:
            return f"was {release.status}: {release.reason}"
        case Status.PASSED:
            return f"passed the gate and waits for an operator{f': {release.hold}' if release.hold else ''}"
    return None


def format_release_name(release: Release) -> str:
    name = f"release {release.id}"
    return f"#{release.pull_request} ({name})" if release.pull_request else name


def describe_stage(release: Release, now: datetime) -> str:
    """Return the release's current stage, and for how long it has run at the database's `now`."""
    if not release.stages:
        return ""
    newest = release.stages[-1]
    return f": {newest.name} for {format_duration(newest.started_at, newest.ended_at or now)}"


def format_no_release(model: ModelConfig) -> str:
    return (NO_MERGE_MESSAGE if model.has_pull_requests else NO_PUSH_MESSAGE).format(model.branch)
