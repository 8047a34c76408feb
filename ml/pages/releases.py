"""The history of releases, one release with its stages, and its logs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from sqlalchemy.orm import Session, sessionmaker

from common.problems import Problem
from db import deployments, releases
from db.models import Deployment, Release
from ml.home import Home
from ml.pages.render import answer, iso
from ml.settings import Settings

ORDER = ("checkout", "environment", "data", "train", "evaluate", "gate", "deploy", "serve")
TAIL = 512 << 10  # bytes of each log that are shown


def routes(sessions: sessionmaker[Session], settings: Settings) -> APIRouter:
    router = APIRouter(prefix="/releases", tags=["releases"])
    home = Home(settings.home.absolute())

    @router.get("", summary="Every attempt to bring a commit to production, newest first")
    def history(request: Request, model: str | None = None, limit: int = 50) -> Response:
        with sessions.begin() as session:
            found = summaries(session, releases.history(session, model, max(1, min(limit, 1000))))
        return answer(request, "releases.html", {"releases": found})

    @router.get("/{number}", summary="One release with its stages")
    def release(request: Request, number: int) -> Response:
        with sessions.begin() as session:
            known = find(session, number)
            document = {
                **summaries(session, [known])[0],
                "stages": [stage(s) for s in known.stages],
                "deployment": deployment(deployments.of_releases(session, [number]).get(number)),
                "info": known.info,
            }
        return answer(request, "release.html", {**document}, logs=logs(home, number))

    @router.get("/{number}/logs", summary="What its stages and its workers printed")
    def log(number: int) -> Response:
        with sessions.begin() as session:
            find(session, number)
        text = "\n".join(f"== {name} ==\n{said}" for name, said in logs(home, number))
        return PlainTextResponse(text or "This release has not printed anything.\n")

    return router


def find(session: Session, number: int) -> Release:
    known = releases.find(session, number) if number < 2**31 else None
    if known is None:
        raise Problem(404, "No such release", f"There is no release {number}; GET /releases lists them.")
    return known


def summaries(session: Session, found: Sequence[Release]) -> list[dict[str, Any]]:
    """What a list says of each release."""
    live = {model: deployments.live(session, model) for model in {release.model for release in found}}
    return [summary(release, live[release.model]) for release in found]


def summary(release: Release, live: Deployment | None) -> dict[str, Any]:
    return {
        "id": release.id,
        "model": release.model,
        "commit": release.commit,
        "pull_request": release.pull_request,
        "title": release.title,
        "author": release.author,
        "trigger": release.trigger,
        "status": release.status,
        "reason": release.reason,
        "metrics": release.metrics,
        "created_at": iso(release.created_at),
        "finished_at": iso(release.finished_at),
        "live": live is not None and live.release_id == release.id,
    }


def stage(known: Any) -> dict[str, Any]:
    return {
        "name": known.name,
        "started_at": iso(known.started_at),
        "ended_at": iso(known.ended_at),
        "outcome": known.outcome,
    }


def deployment(known: Deployment | None) -> dict[str, Any] | None:
    if known is None:
        return None
    return {"state": known.state, "reason": known.reason, "live_at": iso(known.live_at)}


def logs(home: Home, number: int) -> list[tuple[str, str]]:
    """The end of each stage's log, in the order of the stages."""
    found = {path.stem: path for path in home.logs(number).glob("*.log")}
    names = [name for name in ORDER if name in found] + sorted(set(found) - set(ORDER))
    return [(name, said) for name in names if (said := tail(found[name]))]


def tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        text = file.read().decode(errors="replace")
    return text if size <= TAIL else "…" + text[text.find("\n") :]
