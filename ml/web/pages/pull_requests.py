"""The open pull requests of a model, each with its check."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session, sessionmaker

from db import check_list, check_reports, checks
from db.check_list import ListedPullRequest
from db.models import Release
from ml.serving.registry import ModelRegistry
from ml.web.pages import github
from ml.web.pages.render import negotiate_response
from ml.web.serializers import Document

MAX_METRICS = 3  # of a check, on the page


def create_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models/{name}/pull-requests", summary="Open pull requests of a model with their checks")
    def of_model(request: Request, name: str) -> Response:
        """List the newest open pull requests, and what each would change."""
        model = registry.find(name).model
        with sessions.begin() as session:
            found = check_list.list_pull_requests(
                session, model.name, model.repository, model.branch, model.checks.trust
            )
        document = {
            "model": model.name,
            "checks": model.checks.on,
            "pull_requests": [serialize_pull(listed) for listed in found],
        }
        more: dict[str, Any] = {
            "repository": model.repository,
            "branch": model.branch,
            "has_pull_requests": model.has_pull_requests,
            "web": github.find_repository_url(model),
            "busy": any(listed.check and not listed.check.status.has_ended for listed in found),
            "max_open": checks.MAX_OPEN,
            "shown": {listed.pull.number: choose_metrics(listed) for listed in found},
        }
        return negotiate_response(request, "open-pull-requests.html", document, **more)

    return router


def serialize_pull(listed: ListedPullRequest) -> Document:
    pull = listed.pull
    return {
        "number": pull.number,
        "title": pull.title,
        "author": pull.author,
        "head": pull.head,
        "draft": pull.is_draft,
        "fork": pull.is_fork,
        "needs_approval": listed.needs_approval,
        "check": serialize_check(listed, listed.check) if listed.check else None,
    }


def choose_metrics(listed: ListedPullRequest) -> list[Document]:
    """Return the first metrics of a check for the page, each once, as several rules may judge one."""
    check = listed.check
    if check is None or not check.metrics:
        return []
    given = check.metrics
    chosen: dict[str, Document] = {}
    for metric in list_metrics(check):
        if metric["name"] in given and (metric["name"] not in chosen or metric["passed"] is False):
            chosen[metric["name"]] = metric
    return list(chosen.values())[:MAX_METRICS]


def list_metrics(check: Release) -> list[Document]:
    """Return the metrics of a check, with those of the live release then where a rule compares them."""
    return [
        {"name": one.name, "value": one.candidate, "live": one.live, "rule": one.rule, "passed": one.is_met}
        for one in check_reports.list_metrics(check)
    ]


def serialize_check(listed: ListedPullRequest, check: Release) -> Document:
    counts = listed.predictions
    can_be_tried = check.artifact is not None and check.pruned_at is None and check.status.has_ended
    return {
        "release": check.id,
        "status": check.status,
        "stage": listed.stage,
        "reason": check.reason,
        "base": check.base,
        "outdated": listed.is_outdated,
        "metrics": list_metrics(check),
        "predictions": counts and {"changed": counts.changed, "compared": counts.compared},
        "preview": f"/releases/{check.id}/predict" if can_be_tried else None,
    }
