"""Releases that an operator asks for, and those that an operator ends."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session, sessionmaker

from common.problems import Problem
from db import deployments, pull_requests, releases
from db.deployments import Refused
from db.models import Trigger
from ml.api import documents
from ml.api.asked import Asked, Body
from ml.serving.live import Places
from ml.settings import Model

KNOWN = 1000  # merges and releases among which a shortened commit is looked for


class Train(Asked):
    """Of what (the newest accepted commit when none is given), and with whose model to begin."""

    commit: str | None = Field(None, pattern=r"^[0-9a-f]{7,64}$")
    warm_start: bool | int | None = None  # true: with the live release's


def requests(places: Places, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])
    training, plain = Body(Train), Body(Asked)

    @router.post(
        "/models/{name}/train",
        status_code=202,
        summary="Build a commit once more, on today's data",
        openapi_extra=training.openapi,
    )
    def train(name: str, asked: Annotated[Train, Depends(training)]) -> JSONResponse:
        """It takes every stage, the gate included, as if it had just been merged."""
        model = places.find(name).model
        with sessions.begin() as session:
            deployments.lock(session, model.name)  # what it starts from must not be pruned meanwhile
            commit, title = chosen(session, model, asked.commit)
            queued = releases.queue(
                session,
                model.name,
                model.repository,
                commit,
                Trigger.MANUAL,
                who=asked.who,
                title=asked.why or title,
                warm_start=start(session, model, asked.warm_start),
            )
            document = documents.whole(session, documents.find(session, queued.id))
        return accepted(document, f"/releases/{queued.id}")

    @router.post(
        "/releases/{number}/cancel",
        status_code=202,
        summary="End a release that is queued or being built",
        openapi_extra=plain.openapi,
    )
    def cancel(number: int, asked: Annotated[Asked, Depends(plain)]) -> JSONResponse:
        """What runs for it is ended; what it has done so far is kept."""
        with sessions.begin() as session:
            documents.find(session, number)
            who = f"{asked.who}: {asked.why}" if asked.why else asked.who
            cancelled = releases.cancel(session, number, who)
            release = documents.find(session, number)
            if not cancelled:
                raise Refused(f"release {number} has ended already, it is {release.status}")
            document = documents.whole(session, release)
        return accepted(document, f"/releases/{number}")

    return router


def chosen(session: Session, model: Model, given: str | None) -> tuple[str, str | None]:
    """The whole commit that is meant, and what is known of it in words."""
    merges = pull_requests.accepted(session, model.repository, model.branch, KNOWN)
    titles = {merge.commit: merge.title for merge in merges}
    if given is None:
        commit = merges[0].commit if merges else live_commit(session, model.name)
        return commit, titles.get(commit)
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", given):
        return given, titles.get(given)
    known = {*titles, *releases.commits(session, model.name, KNOWN)}
    found = [commit for commit in known if commit.startswith(given)]
    if len(found) != 1:
        many = f"{len(found)} commits begin with" if found else "no commit that was merged or released is"
        detail = f"{many} {given}: give all 40 digits of the one that is meant."
        raise Problem(404, "Which commit?", detail)
    return found[0], titles.get(found[0])


def live_commit(session: Session, model: str) -> str:
    live = deployments.live(session, model)
    if live is None:
        raise Refused(f"no pull request of {model} has been merged yet: merge one, or give a commit")
    return live.release.commit


def start(session: Session, model: Model, asked: bool | int | None) -> int | None:
    """The release whose trained model this one begins with; raises `Refused` when that is not to be had."""
    if asked is None or asked is False:
        return None
    if asked is True:
        live = deployments.live(session, model.name)
        if live is None:
            raise Refused(f"nothing of {model.name} is live: there is nothing to start from")
        return live.release_id
    release = documents.find(session, asked)
    if release.model != model.name:
        raise Problem(404, "No such release", f"Release {asked} is of another model, {release.model}.")
    if release.artifact is None or release.pruned_at is not None:
        lost = "was pruned" if release.pruned_at else "was never trained"
        raise Refused(f"the model of release {asked} {lost}: start from another")
    return asked


def accepted(document: documents.Document, location: str) -> JSONResponse:
    return JSONResponse(document, 202, headers={"Location": location})
