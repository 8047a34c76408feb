"""When the monitor runs: as soon as a live model is due of which there is something new."""

import time
from datetime import timedelta

from sqlalchemy.orm import Session, sessionmaker

from db import monitor_due, retraining_plans

MAX_PAUSE_SECONDS = 60.0  # between two looks for what is due


class MonitorSchedule:
    """Looks from time to time, by a few small queries, whether a run would have something to measure."""

    def __init__(self, sessions: sessionmaker[Session], interval: float) -> None:
        self.sessions, self.interval = sessions, interval
        self.look_due = 0.0  # by the monotonic clock

    def is_due(self, models: list[str]) -> bool:
        if time.monotonic() < self.look_due:
            return False
        self.look_due = time.monotonic() + min(self.interval, MAX_PAUSE_SECONDS)
        with self.sessions.begin() as session:
            live = retraining_plans.list_live(session, models)
            return bool(monitor_due.list_due(session, live, timedelta(seconds=self.interval)))
