"""The history of releases, and one release with its stages and the end of its logs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session, sessionmaker

from common.plain import lines
from common.reach import on_port
from db import deployments, releases
from db.models import Release, State
from ml.api import documents
from ml.api.documents import iso
from ml.api.tail import logs as log_files
from ml.home import Home
from ml.pages import beside as sides
from ml.pages import mlflow
from ml.pages.render import answer, wants_page
from ml.settings import Settings

OTHERS = 50  # releases that one can be held against
TAIL = 48 << 10  # bytes of each log that are on the page; /logs has the whole


def routes(sessions: sessionmaker[Session], settings: Settings) -> APIRouter:
    router = APIRouter(prefix="/releases", tags=["releases"])
    home = Home(settings.home.absolute())

    @router.get("", summary="Every attempt to bring a commit to production, newest first")
    def history(request: Request, model: str | None = None, limit: int = 50) -> Response:
        with sessions.begin() as session:
            known = releases.history(session, model, max(1, min(limit, 1000)))
            found, failed = documents.summaries(session, known), not_served(session, known)
        vcs = on_port(request, settings.vcs_port)
        return answer(request, "releases.html", {"releases": found}, failed=failed, vcs=vcs)

    @router.get("/{number}", summary="One release with its stages, beside what is live")
    def release(request: Request, number: int, beside: str = "") -> Response:
        with sessions.begin() as session:
            known = documents.find(session, number)
            document = documents.whole(session, known)
            if not wants_page(request):
                return answer(request, "release.html", document)
            other = chosen(session, known, beside)
            others = releases.history(session, known.model, OTHERS)
            merged = releases.merge_of(session, known)
            ends = {number: iso(end) for number, end in deployments.ends(session, known.id).items()}
            back = rollback_target(session, known.model) if document["live"] else None
        held = sides.beside(home, known, other) if other else None
        links = mlflow.links(request, settings, document)
        more: dict[str, Any] = {"beside": held, "others": [r for r in others if r.id != number and r.metrics]}
        more |= {"merged": merged, "ends": ends, "back": back}
        return answer(request, "release.html", document, logs=logs(home, number), in_mlflow=links, **more)

    return router


def chosen(session: Session, known: Release, asked: str) -> Release | None:
    """What this release is held against: the one that was asked for, else what is live or, of the
    live one, what was live before it."""
    if re.fullmatch("[0-9]{1,18}", asked):
        other = documents.find(session, int(asked))
        return other if other.id != known.id else None
    live = deployments.live(session, known.model)
    if live is None or live.release_id != known.id:
        return live.release if live else None
    return deployments.earlier(session, [known.id]).get(known.model)


def rollback_target(session: Session, model: str) -> Release | None:
    """What the button "Roll back" brings."""
    live = deployments.live(session, model)
    return deployments.back(session, live) if live else None


def not_served(session: Session, known: Sequence[Release]) -> dict[int, str]:
    """Why releases that the gate let through could not take the place, by release."""
    ended = (State.FAILED, State.OVERRULED)
    newest = deployments.of_releases(session, [release.id for release in known])
    return {number: d.reason or "" for number, d in newest.items() if d.state in ended}


def logs(home: Home, number: int) -> list[tuple[str, str]]:
    """The end of each stage's log, in the order of the stages."""
    found = log_files(home.logs(number)).items()
    return [(name, said) for name, path in found if (said := tail(path))]


def tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        text = lines(file.read().decode(errors="replace"))
    return text if size <= TAIL else "…" + text[text.find("\n") :]
