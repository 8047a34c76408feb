"""When the merge queue of a model is listed: as often as it is used."""

from dataclasses import dataclass
from datetime import datetime

from db.merge_groups import QueueUse

WITH_QUEUE = "queue"  # has a process that asks git for something else list the queue as well
# seconds between two listings when no webhook tells of the queue: of one that is used, and of one that may be
KNOWN_SECONDS, UNKNOWN_SECONDS = 60.0, 300.0


@dataclass(frozen=True)
class LastListing:
    """When a queue was listed last, by the monotonic clock, and the newest webhook by then."""

    at: float
    told_at: datetime | None


def is_due(use: QueueUse, last: LastListing | None, now: float) -> bool:
    """Return whether a model's queue has to be listed: at once after a webhook, else as often as it is used.

    Without an open pull request there is no queue.
    """
    if use.has_checks or (use.told_at is not None and (last is None or last.told_at != use.told_at)):
        return True
    if not use.has_open:
        return False
    pause = KNOWN_SECONDS if use.is_known or use.told_at else UNKNOWN_SECONDS
    return last is None or now - last.at >= pause
