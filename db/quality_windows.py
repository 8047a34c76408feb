"""What was measured of a model's quality before."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.monitor_models import MonitorState, QualityWindow


def list_last(session: Session, model: str, release: int) -> dict[str, QualityWindow]:
    """Return the newest of each window of a release, by its name."""
    found: dict[str, QualityWindow] = {}
    for name in ("day", "week", "month"):
        newest = (
            select(QualityWindow)
            .where(QualityWindow.model == model, QualityWindow.release_id == release)
            .where(QualityWindow.window == name)
            .order_by(QualityWindow.id.desc())
            .limit(1)
        )
        if (row := session.scalar(newest)) is not None:
            found[name] = row
    return found


def find_decay(session: Session, model: str, release: int) -> str | None:
    """Return why a release decays, as the monitor knows it; None where it does not."""
    state = session.get(MonitorState, model)
    if state is None or state.release_id != release or state.decay_since is None:
        return None
    return state.decay_reason


def is_due(last: QualityWindow | None, now: datetime, interval: timedelta) -> bool:
    """Return whether a window is measured again; a clock that was set back makes it due."""
    return last is None or not timedelta() <= now - last.made_at < interval
