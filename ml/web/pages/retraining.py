"""What is due of a model's retraining: the next one, the last ones, and what is left of the budget."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session, sessionmaker

from db import retraining_plans, retrainings
from db.retraining_models import RetrainingPlan
from db.session import DB_ERRORS, read_time
from ml.retrain_limits import begun_since, count_left
from ml.serving.registry import ModelRegistry
from ml.web.pages import github
from ml.web.pages.render import format_utc, negotiate_response
from ml.web.serializers import Document, format_time, serialize_pause, serialize_retraining


def create_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models/{name}/retraining", summary="When a model is trained again, and when it was")
    def of_model(request: Request, name: str) -> Response:
        """Return the settings, the next retraining, and the last ones with their reason and outcome."""
        model = registry.find(name).model
        with sessions.begin() as session:
            live = retraining_plans.list_live(session, [model.name]).get(model.name)
            plan = retraining_plans.find_plan(session, model.name)
            section = model.find_retrain(live.retrain if live else None)
            now = read_time(session)
            begun = retrainings.list_begun(session, model.name, begun_since(section, now), now)
            found = retrainings.list_retrainings(session, model.name)
            suggested = retrainings.list_suggested(session, [model.name])
        document = {
            "model": model.name,
            "release": live.release if live else None,
            "settings": section.model_dump(mode="json"),
            "paused": serialize_pause(plan) if plan else None,
            "next": format_time(plan.next_at) if plan else None,
            "waits": plan.waits if plan else None,
            "budget_left": count_left(begun, section, now),
            "data": serialize_data(plan) if section.on_data else None,
            "suggested": [serialize_retraining(one, None) for one in suggested],
            "retrainings": [serialize_retraining(one, release) for one, release in found],
        }
        more: dict[str, Any] = {
            "repository": model.repository,
            "web": github.find_repository_url(model),
            "now": now,
            "is_on": section.is_on,
        }
        return negotiate_response(request, "retraining.html", document, **more)

    return router


def serialize_data(plan: RetrainingPlan | None) -> Document:
    """Return what was last seen of the data at its addresses."""
    return {
        "checked_at": format_time(plan.data_checked_at) if plan else None,
        "problem": plan.data_problem if plan else None,
        "changed_at": format_time(plan.data_seen_at) if plan else None,
    }


NO_NOTICES: Document = {"paused": None, "suggested": [], "next": None}


def read_notices(sessions: sessionmaker[Session], models: Sequence[str]) -> dict[str, Document]:
    """Return what the overview has of these models' retraining; nothing while Postgres is unavailable."""
    with suppress(*DB_ERRORS), sessions.begin() as session:
        plans = {plan.model: plan for plan in retraining_plans.list_plans(session, models)}
        suggested = retrainings.list_suggested(session, models)
        return {
            model: {
                "paused": describe_pause(plans[model]) if model in plans else None,
                "suggested": [one for one in suggested if one.model == model],
                "next": plans[model].next_at if model in plans else None,
            }
            for model in models
        }
    return dict.fromkeys(models, NO_NOTICES)


def describe_pause(plan: RetrainingPlan) -> str | None:
    """Return a sentence by whom and since when retraining is paused; None where it is not."""
    if plan.paused_at is None:
        return None
    why = f": {plan.paused_why}" if plan.paused_why else ""
    return f"Retraining is paused by {plan.paused_by} since {format_utc(plan.paused_at)}{why}"
