"""When a deployment that could not start is tried again, and when its release is to blame."""

import time
from collections.abc import Awaitable
from dataclasses import dataclass

from common.errors import RejectedError, ResourceExhaustedError
from common.system.backoff import Backoff
from ml.serving.registry import LiveRelease

MAX_SLOW_STARTS = 3  # of a release that is too slow, or killed
BACKOFF = Backoff(1.0, 300.0)  # seconds between two tries when something external is unavailable


@dataclass
class DeploymentBackoff:
    """The retry state of a deployment that could not be tried through no fault of its own."""

    deployment_id: int
    due_at: float = 0.0
    tries: int = 0
    slow_starts: int = 0

    @property
    def pause_seconds(self) -> float:
        return BACKOFF.get_pause(self.tries)

    def schedule_retry(self) -> None:
        self.tries += 1
        self.due_at = time.monotonic() + self.pause_seconds


async def limit_slow_starts(starting: Awaitable[LiveRelease], backoff: DeploymentBackoff) -> LiveRelease:
    """Blame the machine first, then the release, for a start that took too long or was killed.

    Raises RejectedError at the third such start.
    """
    try:
        return await starting
    except ResourceExhaustedError as fault:
        backoff.slow_starts += 1
        if backoff.slow_starts < MAX_SLOW_STARTS:
            raise
        raise RejectedError(f"{fault} (tried {backoff.slow_starts} times)") from fault
