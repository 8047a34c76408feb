"""Calls by which an operator queues a release or cancels one."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from common.text import first_line
from db import deployments, pull_requests, release_queue, releases, rollbacks
from db.deployments import RefusedError
from db.states import Status, Trigger
from ml.serving.registry import ModelRegistry
from ml.settings import ModelConfig
from ml.web import serializers
from ml.web.operator_request import OperatorRequest, RequestBody

MAX_SEARCHED_COMMITS = 1000  # merges and releases among which a shortened commit is searched


class TrainRequest(OperatorRequest):
    """A request to train a commit (the newest accepted one when none is given), cold or from a model."""

    commit: str | None = Field(None, pattern=r"^[0-9a-f]{7,64}$")
    warm_start: bool | int | None = None  # true: with the live release's


def create_operator_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])
    training, plain = RequestBody(TrainRequest), RequestBody(OperatorRequest)

    @router.post(
        "/models/{name}/train",
        status_code=202,
        summary="Build a commit once more, on today's data",
        openapi_extra=training.openapi,
    )
    def train(name: str, asked: Annotated[TrainRequest, Depends(training)]) -> JSONResponse:
        """Run every stage of the commit, the gate included, as if it had just been merged."""
        model = registry.find(name).model
        with sessions.begin() as session:
            deployments.lock_model(session, model.name)  # its warm start must not be pruned meanwhile
            commit, title = resolve_commit(session, model, asked.commit)
            note = None if asked.commit else describe_last_end(session, model.name, commit)
            queued = release_queue.queue_release(
                session,
                model.name,
                model.repository,
                commit,
                Trigger.MANUAL,
                who=asked.who,
                title=asked.why or title,
                warm_start=resolve_warm_start(session, model, asked.warm_start),
            )
            document = serializers.serialize_release(session, serializers.find_release(session, queued.id))
        return to_accepted_response(document | {"note": note}, f"/releases/{queued.id}")

    @router.post(
        "/releases/{number}/cancel",
        status_code=202,
        summary="End a release that is queued or being built",
        openapi_extra=plain.openapi,
    )
    def cancel(number: int, asked: Annotated[OperatorRequest, Depends(plain)]) -> JSONResponse:
        """End the release's processes; the results of its finished stages stay."""
        with sessions.begin() as session:
            serializers.find_release(session, number)
            who = f"{asked.who}: {asked.why}" if asked.why else asked.who
            cancelled = release_queue.cancel(session, number, who)
            release = serializers.find_release(session, number)
            if not cancelled:
                raise RefusedError(f"release {number} has ended already, it is {release.status}")
            document = serializers.serialize_release(session, release)
        return to_accepted_response(document, f"/releases/{number}")

    return router


def resolve_commit(session: Session, model: ModelConfig, given: str | None) -> tuple[str, str | None]:
    """Return the full commit that `given` means, and its title where it has one; raises `ProblemError`."""
    merges = pull_requests.list_accepted(session, model.repository, model.branch, MAX_SEARCHED_COMMITS)
    titles = {merge.commit: merge.title for merge in merges}
    if given is None:
        commit = merges[0].commit if merges else find_live_commit(session, model.name)
        return commit, titles.get(commit)
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", given):
        return given, titles.get(given)
    commits = {*titles, *releases.list_commits(session, model.name, MAX_SEARCHED_COMMITS)}
    found = [commit for commit in commits if commit.startswith(given)]
    if len(found) != 1:
        many = f"{len(found)} commits begin with" if found else "no commit that was merged or released is"
        detail = f"{many} {given}: give all 40 digits of the one that is meant."
        raise ProblemError(404, "Which commit?", detail)
    return found[0], titles.get(found[0])


def find_live_commit(session: Session, model: str) -> str:
    live = deployments.find_live(session, model)
    if live is None:
        raise RefusedError(f"no change of {model} has been accepted yet: merge or push one, or give a commit")
    return live.release.commit


def describe_last_end(session: Session, model: str, commit: str) -> str | None:
    """Return what speaks against building the newest commit again; None when nothing does."""
    last = releases.find_newest_of_commit(session, model, commit)
    if last is not None and last.status is Status.UNTOUCHED:  # its files are those of the change before it
        last = releases.find_last_judged(session, last) or last
        commit = last.commit
    if rollbacks.find_quarantine_of_commit(session, model, commit):
        found = f"commit {commit[:8]} was rolled back, and goes live again when it passes the gate"
    elif last is not None and last.status is Status.REJECTED:
        found = f"release {last.id} of this commit was rejected: {first_line(last.reason or '')}"
    else:
        return None
    live = deployments.find_live(session, model)
    if live is None or live.release.commit == commit:
        return found
    return f"{found}\nto retrain the live release instead: slipway train --commit {live.release.commit[:8]}"


def resolve_warm_start(session: Session, model: ModelConfig, requested: bool | int | None) -> int | None:
    """Return the release whose trained model this one starts from; raises `RefusedError` when it is gone."""
    if requested is None or requested is False:
        return None
    if requested is True:
        live = deployments.find_live(session, model.name)
        if live is None:
            raise RefusedError(f"nothing of {model.name} is live: there is nothing to start from")
        return live.release_id
    release = serializers.find_release(session, requested)
    if release.model != model.name:
        raise ProblemError(
            404, "No such release", f"Release {requested} is of another model, {release.model}."
        )
    if release.artifact is None or release.pruned_at is not None:
        lost = "was pruned" if release.pruned_at else "was never trained"
        raise RefusedError(f"the model of release {requested} {lost}: start from another")
    return requested


def to_accepted_response(document: serializers.Document, location: str) -> JSONResponse:
    return JSONResponse(document, 202, headers={"Location": location})
