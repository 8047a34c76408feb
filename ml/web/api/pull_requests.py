"""Calls by which an operator approves an open pull request, or checks one again."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from db import checks
from db.checks import OpenPullRequest
from db.deployments import ConflictError
from ml.serving.registry import ModelRegistry
from ml.settings import ModelConfig
from ml.web.operator_request import OperatorRequest, RequestBody

MAX_NUMBER = 2**31 - 1


class HeadRequest(OperatorRequest):
    """A request that is about one head of a pull request, and not about a newer one."""

    head: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]


def create_operator_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])
    approving, checking = RequestBody(HeadRequest), RequestBody(HeadRequest)

    @router.post(
        "/models/{name}/pull-requests/{number}/approve",
        status_code=202,
        summary="Build the head of a pull request that comes from another repository",
        openapi_extra=approving.openapi,
    )
    def approve(name: str, number: int, asked: Annotated[HeadRequest, Depends(approving)]) -> JSONResponse:
        """Approve this head alone: a newer push needs another approval."""
        model = find_checked_model(registry, name)
        with sessions.begin() as session:
            pulls = checks.list_open(session, model.repository, model.branch)
            pull = find_pull(pulls, number)
            try:
                checks.approve(session, model.name, number, asked.head, pulls=pulls, who=asked.who)
            except ConflictError as error:
                raise to_moved_error(pull, asked.head) from error
        document = {"pull_request": number, "head": asked.head, "approved_by": asked.who}
        return JSONResponse(document, 202, headers={"Location": f"/models/{model.name}/pull-requests"})

    @router.post(
        "/models/{name}/pull-requests/{number}/check",
        status_code=202,
        summary="Check a pull request again, on the branch as it is now",
        openapi_extra=checking.openapi,
    )
    def check(name: str, number: int, asked: Annotated[HeadRequest, Depends(checking)]) -> JSONResponse:
        """Queue a new check of the same head: the branch has moved on, or the data has changed."""
        model = find_checked_model(registry, name)
        with sessions.begin() as session:
            pull = find_pull(checks.list_open(session, model.repository, model.branch), number)
            if pull.head != asked.head:
                raise to_moved_error(pull, asked.head)
            trust = model.checks.trust
            queued = checks.queue_again(session, model.name, model.repository, pull, trust, who=asked.who)
            if queued is None:
                raise ProblemError(
                    409, "It waits", f"#{number} is a draft, waits for approval, or is checked already now."
                )
            document = {"release": queued.id, "pull_request": number, "head": queued.commit}
        return JSONResponse(document, 202, headers={"Location": f"/releases/{queued.id}"})

    return router


def find_checked_model(registry: ModelRegistry, name: str) -> ModelConfig:
    model = registry.find(name).model
    if not (model.has_pull_requests and model.checks.on):
        detail = f"{model.name} has no checks: its repository is not on GitHub, or SLIPWAY_CHECKS is off."
        raise ProblemError(409, "No checks", detail)
    return model


def find_pull(pulls: list[OpenPullRequest], number: int) -> OpenPullRequest:
    found = next((pull for pull in pulls if pull.number == number), None)
    if found is None:
        detail = f"#{number} is not among the open pull requests into the model's branch that are synced."
        raise ProblemError(404, "No such pull request", detail)
    return found


def to_moved_error(pull: OpenPullRequest, head: str) -> ProblemError:
    detail = f"#{pull.number} is at {pull.head} now, not at {head[:8]}: look at that, and name it."
    return ProblemError(409, "The pull request has moved", detail)
