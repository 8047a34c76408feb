"""The filter of records that an earlier sync sent, inside the tap's environment."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

START_DATE = "1970-01-01T00:00:00Z"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
OVERLAP_SECONDS = 600  # that GitHub may take to show a change
Record = dict[str, Any]


class Deduplicator:
    """A filter of records that the last sync sent, as the minutes before the newest one are fetched again.

    GitHub's times are whole seconds, and a change may be shown later than one that was made after it. Neither
    does an older version of a record replace a newer one.
    """

    def __init__(self, last: dict[str, Any], *, is_whole: bool) -> None:
        self.previous_records: dict[str, list[str]] = last.get("records", {})
        self.seen_records = dict(self.previous_records)
        self.time: str = last.get("time", START_DATE)
        self.settled_at: float | None = None if is_whole else last.get("asked")
        self.requested_at: float | None = None
        self.etag: str | None = None  # of the first page

    def drop_seen(self, page: list[Record]) -> list[Record]:
        """Return the unseen records of a page, which is sorted newest first."""
        if page:
            self.time = max(self.time, page[0]["updated_at"])
        return [record for record in page if not self.is_seen(record)]

    def is_seen(self, record: Record) -> bool:
        fingerprint = hashlib.sha256(json.dumps(record).encode()).hexdigest()[:32]
        current, key = [record["updated_at"], fingerprint], str(record["id"])
        before = self.previous_records.get(key, ["", ""])
        if current[0] >= max(before[0], subtract_overlap(self.time)):
            self.seen_records[key] = current
        return current == before or current[0] < before[0]

    def is_last_page(self, page: list[Record], fresh: list[Record]) -> bool:
        """Return whether later pages were settled long before the last sync: many may change at once."""
        if not page or fresh or self.settled_at is None:
            return False
        oldest = datetime.fromisoformat(page[-1]["updated_at"])
        return oldest.timestamp() < self.settled_at - OVERLAP_SECONDS

    def to_bookmark(self) -> dict[str, Any]:
        """Return the bookmark of the next sync."""
        since = subtract_overlap(self.time)
        records = {key: record for key, record in self.seen_records.items() if record[0] >= since}
        return {"time": self.time, "asked": self.requested_at, "etag": self.etag, "records": records}


def subtract_overlap(moment: str) -> str:
    """Return a time of GitHub's minus the delay with which it may show a change."""
    earlier = datetime.fromisoformat(moment).timestamp() - OVERLAP_SECONDS
    return datetime.fromtimestamp(max(0, earlier), UTC).strftime(TIME_FORMAT)
