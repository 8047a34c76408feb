"""What the overview has of drift and decay, with a link to the monitor's page."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session, sessionmaker

from db import monitor_history
from db.session import DB_ERRORS


class LastingChange(NamedTuple):
    """Drift or decay that lasts."""

    name: str
    anchor: str  # on the monitor's page
    since: datetime
    reason: str


def read_changes(sessions: sessionmaker[Session], models: Sequence[str]) -> dict[str, list[LastingChange]]:
    """Return what lasts of each of these models; nothing while Postgres is unavailable."""
    found: dict[str, list[LastingChange]] = {model: [] for model in models}
    with suppress(*DB_ERRORS), sessions.begin() as session:
        for state in monitor_history.list_states(session, models):
            for name, anchor, since, reason in (
                ("Drift", "drift", state.drift_since, state.drift_reason),
                ("Decay", "quality", state.decay_since, state.decay_reason),
            ):
                if since is not None:
                    found[state.model].append(LastingChange(name, anchor, since, reason or "no reason given"))
    return found
