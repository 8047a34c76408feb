"""Exponential backoff: pauses between tries that grow from failure to failure."""

from dataclasses import dataclass

MAX_STEPS = 64  # a longer row of failures has reached any cap, and must not overflow a float


@dataclass(frozen=True)
class Backoff:
    """Pauses from `first_seconds` on, each `factor` times the one before, and at most `max_seconds`."""

    first_seconds: float
    max_seconds: float
    factor: float = 2.0

    def get_pause(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        return min(self.max_seconds, self.first_seconds * self.factor ** min(failures - 1, MAX_STEPS))
