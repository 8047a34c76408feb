"""The stages of a release, as its builder and others end them."""

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from db.models import Stage
from db.states import StageOutcome


def end_stage(session: Session, stage: int, outcome: StageOutcome) -> None:
    session.execute(
        update(Stage).where(Stage.id == stage).values(outcome=outcome, ended_at=func.clock_timestamp())
    )


def fail_open_stages(session: Session, *releases: int) -> None:
    """Mark as failed the running stages of releases whose builders could not record their end."""
    running = Stage.release_id.in_(releases) & (Stage.outcome == StageOutcome.RUNNING)
    ended = {"outcome": StageOutcome.FAILED, "ended_at": func.clock_timestamp()}
    session.execute(update(Stage).where(running).values(**ended))
