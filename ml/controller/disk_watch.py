"""Whether the disk of the appliance's files is nearly full, and who is told."""

from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from common.system import disk
from db import notifications
from db.notifications import Event

STEP_BYTES = 100 << 20


class DiskWatch:
    """Has people told when the disk is nearly full, and when it is not any more."""

    def __init__(self, sessions: sessionmaker[Session], folder: Path) -> None:
        self.sessions, self.folder = sessions, folder
        self.is_low: bool | None = None  # None: not known yet, an earlier controller may have told

    def check(self) -> None:
        usage, was = disk.read_usage(self.folder), self.is_low
        self.is_low = disk.is_nearly_full(usage, was=was is True)
        if not self.is_low and was is False:
            return
        with self.sessions.begin() as session:
            if self.is_low:
                facts = {"free_bytes": round_down(usage.free), "total_bytes": usage.total}
                notifications.begin_state(session, Event.DISK_NEARLY_FULL, "disk", facts)
            else:
                notifications.end_state(session, "disk")


def round_down(size: int) -> int:
    """Return bytes in steps, so that each small change is not another fact."""
    return size // STEP_BYTES * STEP_BYTES
