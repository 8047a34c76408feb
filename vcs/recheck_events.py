"""The webhook events by which somebody at GitHub asks for another check of a commit.

https://docs.github.com/webhooks/webhook-events-and-payloads#check_run
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from common.models_file import ModelEntry
from common.problems import ProblemError
from db import pull_requests, rechecks

RECHECK_EVENTS = ("check_run", "check_suite")
ACTIONS = ("rerequested", "requested_action")  # the button "Re-run", and our own
PREFIX = "slipway/"  # of a check run's name; the model's follows
COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")

Json = dict[str, Any]


class RecheckEvents:
    """Stores what GitHub asks for, of check runs of our own App alone; the controller follows it."""

    def __init__(
        self, models: Mapping[str, ModelEntry], app_id: int | None, sessions: sessionmaker[Session]
    ) -> None:
        self.models, self.app_id, self.sessions = models, app_id, sessions

    async def handle(self, event: str, delivery: str, payload: Json) -> tuple[int, Json]:
        """Return the response to a signed delivery. Raises `ProblemError` while the database is away."""
        about = payload.get(event)
        about = about if isinstance(about, dict) else {}
        commit, repository = str(about.get("head_sha", "")), parse_repository(payload)
        models = self.find_models(event, about, repository)
        if payload.get("action") not in ACTIONS or not models or not COMMIT.fullmatch(commit):
            return 202, {"message": f"nothing to do for this {event}"}
        try:
            is_first = await asyncio.to_thread(self.store, delivery, models, commit)
        except SQLAlchemyError as error:
            raise ProblemError(
                503, "The database does not answer", "Press the button again when it does."
            ) from error
        return (202, {"message": "it is checked again"}) if is_first else (200, {"message": "seen already"})

    def find_models(self, event: str, about: Json, repository: str) -> dict[str, str]:
        """Return the models that are meant, each with its repository: of a check suite all of them."""
        app = about.get("app")
        if self.app_id is None or not isinstance(app, dict) or app.get("id") != self.app_id:
            return {}
        name = str(about.get("name", "")) if event == "check_run" else None
        return {
            model: entry.name
            for model, entry in self.models.items()
            if entry.name.lower() == repository.lower() and name in (None, f"{PREFIX}{model}")
        }

    def store(self, delivery: str, models: Mapping[str, str], commit: str) -> bool:
        """Store a request once; return False for a replay."""
        with self.sessions.begin() as session:
            is_first = pull_requests.record_delivery(session, delivery)
            for model, repository in models.items() if is_first else ():
                rechecks.request_recheck(session, repository, commit, model)
            return is_first


def parse_repository(event: Json) -> str:
    repository = event.get("repository")
    return str(repository.get("full_name", "")) if isinstance(repository, dict) else ""
