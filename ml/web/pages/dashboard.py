"""The overview: the live release, its metrics, and the progress of the next release."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session, sessionmaker

from common.auth.access import url_on_port
from common.problems import ProblemError
from common.web.negotiation import wants_page
from db import check_list, pull_requests, releases
from db.models import Release
from db.session import DB_ERRORS, describe_error, read_time
from db.states import Status
from ml.serving.registry import LiveRelease, ModelRegistry, ServedModel
from ml.serving.telemetry.traffic import TrafficRecorder
from ml.settings import MlSettings, ModelConfig
from ml.web.api import traffic
from ml.web.db_unavailable import MESSAGE
from ml.web.metric_order import order_metrics
from ml.web.pages import github, mlflow, monitor_notices, retraining
from ml.web.pages.dashboard_data import ModelSummary, summarize_models
from ml.web.pages.releases import find_rollback_target
from ml.web.pages.render import negotiate_response, render_page
from ml.web.pages.status_messages import build_status_messages, describe_newest, format_no_release
from ml.web.serializers import Document, find_failed, format_time, serialize_summaries

MAX_SHOWN_RELEASES = 6  # releases on the page


def create_router(
    settings: MlSettings,
    registry: ModelRegistry,
    sessions: sessionmaker[Session],
    recorder: TrafficRecorder,
) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/", summary="What is live")
    def overview(request: Request) -> Response:
        """Return the live release of the model; with several models, of each."""
        if len(registry.by_model) > 1:
            return all_models(request)
        return model_page(request, registry.find(None))

    @router.get("/models/{name}", summary="What is live of one model")
    def model(request: Request, name: str) -> Response:
        return model_page(request, registry.find(name))

    def all_models(request: Request) -> Response:
        models = [describe_live(served) for served in registry.by_model.values()]
        if not wants_page(request):
            return negotiate_response(request, "models.html", {"models": models})
        summaries, outage = standing(list(registry.by_model.values()))
        webs = {name: github.find_repository_url(served.model) for name, served in registry.by_model.items()}
        lately = {} if outage else read_last_hour(sessions, list(webs), recorder)
        more = {
            "known": summaries,
            "outage": outage,
            "webs": webs,
            "traffic": lately,
            "nothing_due": retraining.NO_NOTICES,
            "retraining": retraining.read_notices(sessions, [] if outage else list(webs)),
            "changes": monitor_notices.read_changes(sessions, [] if outage else list(webs)),
            "call": checkout(request),
        }
        return render_page(request, "models.html", 200, models=models, **more)

    def standing(of: list[ServedModel]) -> tuple[dict[str, ModelSummary], str | None]:
        """Return the summary of each of these models, and which of their dependencies are unavailable."""
        live = {served.model.name: served.live.release if served.live else None for served in of}
        if outage := registry.find_database_error():
            return {}, MESSAGE.format(outage)
        try:
            with sessions.begin() as session:
                return summarize_models(session, live), " ".join(
                    github.read_status_messages(session) + mlflow.read_status_messages(session)
                ) or None
        except DB_ERRORS as error:
            return {}, MESSAGE.format(describe_error(error))

    def model_page(request: Request, place: ServedModel) -> Response:
        if place.live is not None and not wants_page(request):
            return JSONResponse(describe_live(place), headers={"Vary": "Accept"})
        history, failed, messages, explained, now = read_state(place)
        if not wants_page(request):
            raise ProblemError(503, "Nothing is live yet", " ".join(messages), headers={"Retry-After": "5"})
        more = {
            "messages": messages,
            "history": history or [],
            "failed": failed,
            "explained": explained,
            "now": now,
            "address": place.model.name if len(registry.by_model) > 1 else None,
            "database_unavailable": history is None,
            "retraining": retraining.NO_NOTICES
            if history is None
            else read_retraining(sessions, place.model.name),
            "changes": []
            if history is None
            else monitor_notices.read_changes(sessions, [place.model.name])[place.model.name],
            "open_count": 0 if history is None else count_open(sessions, place.model),
            "busy": any(release["status"] in ("queued", "building") for release in history or ())
            or place.activity is not None,
        }
        if place.live is None:
            more |= {
                # the page has that sentence itself
                "messages": [one for one in messages if one != format_no_release(place.model)],
                "pushed": not place.model.has_pull_requests,
                "call": checkout(request),
                **read_branches(sessions, place.model, history),
            }
            return render_page(request, "nothing.html", 503, model=place.model.name, **more)
        name = place.model.name
        more |= {"web": github.find_repository_url(place.model), "one": None, "back": None, "charts": None}
        if history is not None:  # else each query would wait for Postgres again
            more |= {
                "one": standing([place])[0].get(name),
                "charts": read_charts(request, sessions, name, recorder),
            }
            more |= {
                "back": read_rollback_target(sessions, name) if request.scope.get("operator", False) else None
            }
        return render_page(request, "model.html", 200, **describe_live(place), **more)

    def read_state(
        place: ServedModel,
    ) -> tuple[list[dict[str, Any]] | None, dict[int, str], list[str], int | None, datetime | None]:
        """Return the newest releases, why some failed to start, the status messages, the release whose end
        is among these messages, and Postgres's time; no releases and no time while it is unavailable."""
        if place.database_error:
            return None, {}, [f"Postgres is unavailable: {place.database_error}."], None, None
        try:
            with sessions.begin() as session:
                newest = releases.list_releases(session, place.model.name, MAX_SHOWN_RELEASES, checks=False)
                busy = [r.id for r in newest if r.status is Status.BUILDING]
                building = releases.find(session, busy[0]) if busy else None
                history = serialize_summaries(session, newest)
                failed = find_failed(history)
                dependency_messages = github.read_status_messages(session) + mlflow.read_status_messages(
                    session, place.model.name
                )
                now = read_time(session)
        except DB_ERRORS as error:
            return None, {}, [f"Postgres is unavailable: {describe_error(error)}."], None, None
        explained = newest[0].id if newest and describe_newest(newest[0], failed.get(newest[0].id)) else None
        return (
            history,
            failed,
            build_status_messages(place, newest, building, failed, now) + dependency_messages,
            explained,
            now,
        )

    def checkout(request: Request) -> str:
        """Return the exact call that fetches merged pull requests."""
        return f"curl -X POST {url_on_port(request, settings.vcs_port)}/checkout"

    return router


def read_charts(
    request: Request, sessions: sessionmaker[Session], model: str, recorder: TrafficRecorder
) -> Document | None:
    """Return the requests of the URL's `hours`, else of one hour; None while Postgres is unavailable."""
    window = traffic.WINDOWS.get(request.query_params.get("hours", ""), traffic.WINDOWS["1"])
    try:
        with sessions.begin() as session:
            return traffic.read_window(session, model, window, recorder)
    except DB_ERRORS:
        return None


def read_last_hour(
    sessions: sessionmaker[Session], models: Sequence[str], recorder: TrafficRecorder
) -> dict[str, Document]:
    """Return the requests of each of these models; none while Postgres is unavailable."""
    try:
        with sessions.begin() as session:
            return traffic.read_last_hour(session, models, recorder)
    except DB_ERRORS:
        return {}


def read_retraining(sessions: sessionmaker[Session], model: str) -> Document:
    return retraining.read_notices(sessions, [model])[model]


def read_branches(
    sessions: sessionmaker[Session], model: ModelConfig, history: list[dict[str, Any]] | None
) -> dict[str, str | None]:
    """Return the followed branch, and while it has no release, another branch that is merged into.

    Nothing is read where `history` is None: Postgres is unavailable.
    """
    found = None
    if history != [] or not model.has_pull_requests:
        return {"branch": model.branch, "other_branch": None}
    with suppress(*DB_ERRORS), sessions.begin() as session:
        found = pull_requests.find_other_branch(session, model.repository, model.branch)
    return {"branch": model.branch, "other_branch": found}


def count_open(sessions: sessionmaker[Session], model: ModelConfig) -> int:
    """Return the number of open pull requests into a model's branch; 0 while Postgres is unavailable."""
    if not model.has_pull_requests:
        return 0
    with suppress(*DB_ERRORS), sessions.begin() as session:
        return check_list.count_open(session, model.repository, model.branch)
    return 0


def read_rollback_target(sessions: sessionmaker[Session], model: str) -> Release | None:
    """Return the release that a rollback would make live; None while Postgres is unavailable."""
    try:
        with sessions.begin() as session:
            return find_rollback_target(session, model)
    except DB_ERRORS:
        return None


def describe_live(served: ServedModel) -> dict[str, Any]:
    """Return the live release of a model; nulls while there is none."""
    live: LiveRelease | None = served.live
    release = live.release if live else None
    return {
        "model": served.model.name,
        "repository": served.model.repository,
        "release": release.id if release else None,
        "commit": release.commit if release else None,
        "pull_request": release.pull_request if release else None,
        "title": release.title if release else None,
        "since": format_time(live.since) if live else None,
        "kind": release.kind if release else None,
        "info": release.info if release else None,
        "metrics": order_metrics(release) if release else None,
    }
