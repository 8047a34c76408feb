"""The end of retrainings as soon as the commit that they are of is no longer the newest."""

from sqlalchemy import func
from sqlalchemy.orm import Session

from db.models import Release
from db.retraining_models import Retraining
from db.session import notify
from db.stages import fail_open_stages
from db.states import RETRAIN_TRIGGERS, RetrainingState, Status
from db.transitions import update_retraining, update_status


def end_retrainings(session: Session, model: str, reason: str, *, except_of: str | None = None) -> None:
    """End the retrainings of a model that are suggested, wait or are built, but those of one commit.

    Their builders lose the claim with it. The caller holds `deployments.lock_model`.
    """
    session.execute(
        update_retraining(RetrainingState.SUPERSEDED, outcome=reason, ended_at=func.now()).where(
            Retraining.model == model, Retraining.commit.is_distinct_from(except_of)
        )
    )
    ended = session.scalars(
        update_status(Status.SUPERSEDED, reason=reason, token=None, finished_at=func.now())
        .where(Release.model == model, Release.trigger.in_(RETRAIN_TRIGGERS))
        .where(Release.status.in_((Status.QUEUED, Status.BUILDING)))
        .where(Release.commit.is_distinct_from(except_of))
        .returning(Release.id)
    ).all()
    if ended:
        fail_open_stages(session, *ended)
        notify(session, "releases", model)
