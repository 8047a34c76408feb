"""Why a release cannot be tried, each with what to do about it."""

from dataclasses import dataclass
from typing import Any

from common.problems import ProblemError
from common.units import format_gib
from db.models import Release


@dataclass(frozen=True)
class Ending:
    """The reason why a preview is over; `log` has the last lines of its worker, where it failed."""

    title: str
    reason: str
    status: int = 503
    log: str = ""

    @property
    def has_failed(self) -> bool:
        return bool(self.log) or self.status != 503


def ended_problem(release: Release, ending: Ending) -> ProblemError:
    last = f" The last lines of its log: {ending.log}" if ending.log else ""
    detail = f"The preview of release {release.id}: {ending.reason}.{last}"
    return ProblemError(ending.status, ending.title, detail, **describe_release(release))


def off_problem() -> ProblemError:
    detail = "SLIPWAY_PREVIEW is off on this appliance: its operator can turn previews on."
    return ProblemError(404, "Previews are off", detail)


def unserved_problem(release: Release) -> ProblemError:
    detail = f"{release.model} is not served any more: add it to models.toml, and start the appliance again."
    return ProblemError(409, "The model is not served", detail, **describe_release(release))


def never_built_problem(release: Release) -> ProblemError:
    if release.status.has_ended:
        state = f"it is {release.status}, and its build ended before it was trained. {train_again(release)}"
    else:
        state = f"it is {release.status}. Wait until it is trained: GET /releases/{release.id} shows when."
    detail = f"Release {release.id} has no trained model: {state}"
    return ProblemError(409, "There is nothing to try", detail, **describe_release(release))


def pruned_problem(release: Release) -> ProblemError:
    detail = (
        f"The trained model of release {release.id} was removed to save space (SLIPWAY_KEEP). "
        f"{train_again(release)}"
    )
    return ProblemError(410, "Its model was removed", detail, **describe_release(release))


def train_again(release: Release) -> str:
    return (
        f"To get one, train its commit again: the button on GET /releases/{release.id}, or "
        f"`slipway train {release.model} --commit {release.commit[:12]}`."
    )


def full_problem(others: list[int]) -> ProblemError:
    names = " and ".join(f"release {number}" for number in others)
    detail = f"The previews of {names} run, and no more may at once: stop one on its page, or wait."
    return busy_problem("There are previews already", detail, previews=others)


def stopping_problem(release: Release) -> ProblemError:
    detail = f"The preview of release {release.id} is being stopped: try again in a moment."
    return busy_problem("It is being stopped", detail)


def no_memory_problem(needed: int, free: int) -> ProblemError:
    detail = (
        f"A preview needs {format_gib(needed)} of free memory, and {format_gib(free)} are free: wait until a "
        "build or another preview has ended, or let the operator lower SLIPWAY_PREVIEW_MEMORY."
    )
    return busy_problem("There is no room for a preview", detail)


def deploying_problem(activity: str) -> ProblemError:
    detail = f"A deployment goes first ({activity}): try again when it has ended."
    return busy_problem("There is no room for a preview", detail)


def busy_problem(title: str, detail: str, **extra: Any) -> ProblemError:
    return ProblemError(503, title, detail, headers={"Retry-After": "30"}, **extra)


def describe_release(release: Release) -> dict[str, Any]:
    return {"model": release.model, "release": release.id, "commit": release.commit}
