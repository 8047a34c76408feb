"""The overview: what is live, how good it is, and what is being done for the next release."""

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from common.problems import Problem
from common.reach import on_port
from db import releases
from db.models import Release, Status
from ml.api.documents import iso, summaries
from ml.api.metrics import in_order
from ml.pages import github, mlflow
from ml.pages.errors import first_line
from ml.pages.releases import not_served, rollback_target
from ml.pages.render import answer, lasting, page, wants_page
from ml.pages.standing import Standing, standings
from ml.serving.live import Live, Place, Places
from ml.serving.tally import Calls
from ml.settings import Model, Settings

SHOWN = 6  # releases on the page
UNTRIED = (
    "No prediction of release {} was tried before it went live: nothing says what it takes. "
    "examples() in its main.py would"
)
UNMERGED = "No pull request has been merged yet; POST /checkout of the vcs service looks for one."


def routes(
    settings: Settings, places: Places, sessions: sessionmaker[Session], calls: Calls | None = None
) -> APIRouter:
    router = APIRouter(tags=["models"])
    calls = calls or Calls()

    @router.get("/", summary="What is live")
    def overview(request: Request) -> Response:
        """The live release of the model; with several models, of each."""
        if len(places.by_model) > 1:
            return all_models(request)
        return model_page(request, places.find(None))

    @router.get("/models/{name}", summary="What is live of one model")
    def model(request: Request, name: str) -> Response:
        return model_page(request, places.find(name))

    def all_models(request: Request) -> Response:
        models = [facts(place) for place in places.by_model.values()]
        if not wants_page(request):
            return answer(request, "models.html", {"models": models})
        known, away = standing(list(places.by_model.values()))
        webs = {name: web(place.model) for name, place in places.by_model.items()}
        traffic = {name: heard(name) for name in webs}
        more = {"known": known, "away": away, "webs": webs, "traffic": traffic, "call": checkout(request)}
        return page(request, "models.html", 200, models=models, **more)

    def heard(name: str) -> dict[str, float | None] | None:
        """The requests of the last hour; None before the first."""
        hour = calls.hours.get(name)
        return hour.summary(time.monotonic()) if hour else None

    def standing(of: list[Place]) -> tuple[dict[str, Standing], str | None]:
        """How each of these models stands, and what is away of that it depends on."""
        live = {place.model.name: place.live.release if place.live else None for place in of}
        try:
            with sessions.begin() as session:
                return standings(session, live), " ".join(github.said(session) + mlflow.said(session)) or None
        except DBAPIError as error:
            return {}, f"Postgres is away: {first_line(error)}. What is live is served all the same."

    def model_page(request: Request, place: Place) -> Response:
        if place.live is not None and not wants_page(request):
            return JSONResponse(facts(place), headers={"Vary": "Accept"})
        history, failed, said, told = look(place)
        if not wants_page(request):
            raise Problem(503, "Nothing is live yet", " ".join(said), headers={"Retry-After": "5"})
        more = {
            "said": said,
            "history": history,
            "failed": failed,
            "told": told,
            "address": place.model.name if len(places.by_model) > 1 else None,
            "away": place.database is not None,
            "busy": any(release["status"] in ("queued", "building") for release in history)
            or place.doing is not None,
        }
        if place.live is None:
            more |= {"said": [sentence for sentence in said if sentence != UNMERGED]}  # it has its own words
            return page(request, "nothing.html", 503, model=place.model.name, call=checkout(request), **more)
        name = place.model.name
        more |= {"web": web(place.model), "traffic": heard(name), "one": standing([place])[0].get(name)}
        more |= {"back": back(sessions, name) if request.scope.get("operator", False) else None}
        return page(request, "model.html", 200, **facts(place), **more)

    def look(place: Place) -> tuple[list[dict[str, Any]], dict[int, str], list[str], int | None]:
        """The newest releases, why some could not take the place, in words what is going on, and the release
        whose end is among these words."""
        said = [f"Postgres is away: {place.database}."] if place.database else []
        try:
            with sessions.begin() as session:
                newest = releases.history(session, place.model.name, SHOWN)
                busy = [r.id for r in newest if r.status is Status.BUILDING]
                building = releases.find(session, busy[0]) if busy else None
                history, failed = summaries(session, newest), not_served(session, newest)
                beside = github.said(session) + mlflow.said(session, place.model.name)
        except DBAPIError as error:
            return [], {}, said or [f"Postgres is away: {first_line(error)}."], None
        told = newest[0].id if newest and news(newest[0], failed.get(newest[0].id)) else None
        return history, failed, said + going_on(place, newest, building, failed) + beside, told

    def checkout(request: Request) -> str:
        """The exact call that brings what was merged."""
        return f"curl -X POST {on_port(request, settings.vcs_port)}/checkout"

    return router


def back(sessions: sessionmaker[Session], model: str) -> Release | None:
    """What a rollback would bring; None while nobody knows."""
    try:
        with sessions.begin() as session:
            return rollback_target(session, model)
    except DBAPIError:
        return None


def facts(place: Place) -> dict[str, Any]:
    """The live release of a model; nulls while there is none."""
    live: Live | None = place.live
    release = live.release if live else None
    return {
        "model": place.model.name,
        "repository": place.model.repository,
        "release": release.id if release else None,
        "commit": release.commit if release else None,
        "pull_request": release.pull_request if release else None,
        "title": release.title if release else None,
        "since": iso(live.since) if live else None,
        "kind": release.kind if release else None,
        "info": release.info if release else None,
        "metrics": in_order(release) if release else None,
    }


def going_on(
    place: Place, newest: Sequence[Release], building: Release | None, failed: dict[int, str]
) -> list[str]:
    """Sentences, most urgent first."""
    said = []
    if place.doing:
        said.append(f"In progress: {place.doing}")
    if building is not None:
        said.append(f"Building {named(building)}{stage(building)}")
    if newest and (word := news(newest[0], failed.get(newest[0].id))):
        name = named(newest[0])
        said.append(f"{name[0].upper()}{name[1:]} {word}")
    if place.trouble:
        said.append(place.trouble)
    if place.live is not None and not place.live.tried:
        said.append(UNTRIED.format(place.live.release.id))
    if not newest and place.live is None:
        said.append(UNMERGED)
    return [sentence if sentence.endswith((".", "?", "!")) else f"{sentence}." for sentence in said]


def news(release: Release, not_served: str | None) -> str | None:
    """What became of the newest release, when that asks for somebody's attention."""
    if not_served is not None:
        return f"could not take the place: {not_served}"
    match release.status:
        case Status.QUEUED:
            return f"waits: {release.reason}" if release.reason else "waits for its turn"
        case Status.REJECTED | Status.FAILED:
            return f"was {release.status}: {release.reason}"
        case Status.PASSED:
            return f"passed the gate and waits for an operator{f': {release.hold}' if release.hold else ''}"
    return None


def named(release: Release) -> str:
    name = f"release {release.id}"
    return f"#{release.pull_request} ({name})" if release.pull_request else name


def stage(release: Release) -> str:
    """The stage that it is in, and for how long."""
    if not release.stages:
        return ""
    newest = release.stages[-1]
    return f": {newest.name} for {lasting(iso(newest.started_at), iso(newest.ended_at))}"


def web(model: Model) -> str | None:
    """Where the repository can be looked at, when its clone address is one of the web's."""
    return model.clone_url.removesuffix(".git") if model.clone_url.startswith("https://") else None
