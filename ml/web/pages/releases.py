"""The history of releases, and one release with its stages and the end of its logs."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session, sessionmaker

from common.auth.access import url_on_port
from common.plain import escape_lines
from common.problems import ProblemError
from common.web.negotiation import wants_page
from db import check_list, deployment_history, deployments, release_history, releases, rollbacks
from db.models import OPTIONAL_STAGES, Release, StageName
from db.session import DB_ERRORS, read_time
from db.states import Status, Trigger
from ml.paths import HomeLayout
from ml.settings import MlSettings
from ml.web import serializers
from ml.web.log_chunks import find_logs as log_files
from ml.web.pages import github, mlflow
from ml.web.pages import release_diff as sides
from ml.web.pages.curves import find_curves
from ml.web.pages.render import negotiate_response
from ml.web.serializers import format_time

MAX_OTHER_RELEASES = 50  # releases that one can be compared with
MAX_LOG_BYTES = 48 << 10  # bytes of each log that are on the page; /logs has the whole


def create_router(
    sessions: sessionmaker[Session],
    settings: MlSettings,
    can_try: Callable[[Request, Release], bool] = lambda *_: False,
) -> APIRouter:
    """Create the routes; `can_try` decides whether a release is offered to be tried."""
    router = APIRouter(prefix="/releases", tags=["releases"])
    home = HomeLayout(settings.home.absolute())
    webs = {
        (model.name, model.repository): github.find_repository_url(model) for model in settings.list_models()
    }
    github_url = f"https://{settings.github_host}/"

    @router.get("", summary="Every attempt to bring a commit to production, newest first")
    def list_releases(
        request: Request,
        *,
        model: str = "",
        state: str = "",
        text: Annotated[str, Query(max_length=release_history.MAX_TEXT_CHARS)] = "",
        before: Annotated[int | None, Query(ge=1, le=release_history.MAX_ID)] = None,
        after: Annotated[int | None, Query(ge=0, le=release_history.MAX_ID)] = None,
        limit: int = 50,
    ) -> Response:
        """List releases of one model, in one state, with a text in them: all given filters have to match.

        `older` and `newer` in the answer are the URLs of the neighbouring pages.
        """
        filters = {"model": drop_nul(model), "state": state, "text": drop_nul(text).strip()}
        if state and state not in release_history.STATES:
            detail = f"There is no state {state!r}: there is {', '.join(release_history.STATES)}."
            raise ProblemError(422, "No such state", detail)
        with sessions.begin() as session:
            search = release_history.ReleaseSearch(**filters, before=before, after=after)
            page = release_history.find_page(session, search, max(1, min(limit, 1000)))
            found = serializers.serialize_summaries(session, page.releases)
            failed = serializers.find_failed(found)
            more: dict[str, Any] = {"asked": filters, "states": release_history.STATES, "failed": failed}
            if wants_page(request):
                more |= {"models": release_history.find_models(session), "now": read_time(session)}
        query = {name: value for name, value in filters.items() if value} | (
            {"limit": limit} if limit != 50 else {}
        )
        links = {
            "older": build_list_url(query | {"before": page.older}) if page.older else None,
            "newer": build_list_url(query | {"after": page.newer}) if page.newer else None,
        }
        vcs = url_on_port(request, settings.vcs_port)
        return negotiate_response(request, "releases.html", {"releases": found, **links}, vcs=vcs, **more)

    @router.get("/{number}", summary="One release with its stages, compared with the live one")
    def release(request: Request, number: int, beside: str = "") -> Response:
        with sessions.begin() as session:
            found = serializers.find_release(session, number)
            document = serializers.serialize_release(session, found)
            if not wants_page(request):
                return negotiate_response(request, "release.html", document)
            other = choose_other(session, found, beside)
            others = releases.list_releases(session, found.model, MAX_OTHER_RELEASES)
            merged = releases.find_merge_of(session, found)
            ends = {
                number: format_time(end)
                for number, end in deployment_history.find_live_until(session, found.id).items()
            }
            is_of_pull = found.trigger is Trigger.CHECK and found.ref is None
            is_outdated = is_of_pull and check_list.is_outdated(
                found, check_list.find_newest_change(session, found.model)
            )
            rollback_target = find_rollback_target(session, found.model) if document["live"] else None
            previous, following = release_history.find_neighbours(session, found)
            now = read_time(session)
        compared = sides.compare_releases(home, found, other) if other else None
        links = mlflow.find_release_links(request, settings, document)
        more: dict[str, Any] = {
            "beside": compared,
            "others": [r for r in others if r.id != number and r.metrics],
        }
        web = webs.get((found.model, found.repository))
        more |= {
            "merged": merged,
            "outdated": is_outdated,
            "ends": ends,
            "back": rollback_target,
            "now": now,
            "web": web,
            "on_github": web is not None and web.startswith(github_url),
            "can_try": can_try(request, found),
        }
        more |= {"previous": previous, "following": following, "course": list_stages(document)}
        more |= {"curves": find_curves(found.differences)}
        return negotiate_response(
            request, "release.html", document, logs=read_logs(home, number), in_mlflow=links, **more
        )

    return router


def list_stages(release: serializers.Document) -> list[serializers.Document]:
    """Return every stage of a release: those that have begun, and after them the others that it must have."""
    begun = release["stages"]
    names = {stage["name"] for stage in begun} | {*OPTIONAL_STAGES}
    if release["check"]:
        names |= {StageName.DEPLOY}
    return [*begun, *({"name": name, "outcome": None} for name in StageName if name not in names)]


def find_building(sessions: sessionmaker[Session], model: str) -> dict[str, Any]:
    """Return a model's release that is being built, and its stages; none while Postgres is unavailable."""
    with suppress(*DB_ERRORS), sessions.begin() as session:
        found = release_history.find_page(
            session, release_history.ReleaseSearch(model=model, state=Status.BUILDING), 1
        ).releases
        if found:
            building = serializers.serialize_release(session, serializers.find_release(session, found[0].id))
            now = read_time(session)
            return {"building": building, "course": list_stages(building), "now": now}
    return {"building": None, "course": []}


def build_list_url(query: dict[str, str | int]) -> str:
    return f"/releases?{urlencode(query)}"


def drop_nul(text: str) -> str:
    """Return a text without NUL characters, which Postgres cannot store."""
    return text.replace("\0", "")


def choose_other(session: Session, release: Release, requested: str) -> Release | None:
    """Return the release to compare with: the requested one, else the live one or, for the live one
    itself, the previously live one."""
    if re.fullmatch("[0-9]{1,18}", requested):
        other = serializers.find_release(session, int(requested))
        return other if other.id != release.id else None
    live = deployments.find_live(session, release.model)
    if live is None or live.release_id != release.id:
        return live.release if live else None
    return deployment_history.find_previously_live(session, [release.id]).get(release.model)


def find_rollback_target(session: Session, model: str) -> Release | None:
    """Return the release that the button "Roll back" makes live."""
    live = deployments.find_live(session, model)
    return rollbacks.find_target(session, live) if live else None


def read_logs(home: HomeLayout, number: int) -> list[tuple[str, str]]:
    """Return the end of each stage's log, in the order of the stages."""
    found = log_files(home.logs_path(number)).items()
    return [(name, text) for name, path in found if (text := read_tail(path))]


def read_tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MAX_LOG_BYTES))
        text = escape_lines(file.read(MAX_LOG_BYTES).decode(errors="replace"))
    return text if size <= MAX_LOG_BYTES else "…" + text[text.find("\n") :]
