"""The schedule of builds: which release is started now, and which check makes room for it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Build:
    """A release that waits or is being built."""

    release: int
    model: str
    is_check: bool


@dataclass(frozen=True)
class Schedule:
    start: Sequence[Build]
    interrupt: Sequence[Build]  # checks that are put back, so that a change can be built


def plan_builds(
    waiting: Collection[Build], running: Collection[Build], slots: int, occupied: int
) -> Schedule:
    """Plan what to start: one release of a model at a time, the longest waiting first, changes before checks.

    A change takes the place of a check of its model, and of any check when no slot is free. `occupied` slots
    are taken by `running` and by other work. What takes a place is started once that is free.
    """
    checks = {build.model: build for build in running if build.is_check}
    busy = {build.model for build in running}
    start: list[Build] = []
    interrupt: list[Build] = []
    free = slots - occupied
    for build in sorted(waiting, key=lambda build: (build.is_check, build.release)):
        if build.model in busy:
            if not build.is_check and build.model in checks:
                interrupt.append(checks.pop(build.model))
        elif free > 0:
            start.append(build)
            busy.add(build.model)
            free -= 1
        elif not build.is_check and checks:
            newest = max(checks.values(), key=lambda check: check.release)
            interrupt.append(checks.pop(newest.model))
            busy.add(build.model)
    return Schedule(start, interrupt)
