"""vcs over HTTP: /, /checkout, /webhook, /pull-requests, /health, /metrics."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from common import problems
from common.hosts import HostCheck
from common.problems import Problem
from db import pull_requests, releases
from db.models import PullRequest, Release
from db.pull_requests import Accepted, Which
from vcs import page as pages
from vcs.door import Door
from vcs.failures import SyncFailed
from vcs.install import installed
from vcs.metrics import Metrics
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import Sync, Synced, Syncer
from vcs.webhook import Webhook

WATCH_SECONDS = 5.0


class Checkout(BaseModel, from_attributes=True):
    repository: str
    rows: int
    newly_accepted: int
    newest_merge: Accepted | None
    seconds: float


def create(settings: VcsSettings, sessions: sessionmaker[Session]) -> FastAPI:
    """The app; its `state.syncer` runs from its start to its end."""
    singer = Singer(settings)
    metrics = Metrics(singer)
    syncer = Syncer(Sync(settings, sessions, singer), settings.sync_seconds, metrics.observe)
    webhook = Webhook(
        settings.webhook_secret.get_secret_value(), settings.branches, sessions, nudge=syncer.nudge
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        syncer.start()
        watching = asyncio.create_task(look_after(syncer))
        yield
        watching.cancel()
        syncer.stop()
        webhook.close()
        await asyncio.to_thread(syncer.join, 3)

    app = FastAPI(title="Slipway vcs", description=__doc__, lifespan=lifespan, responses=problems.RESPONSES)
    app.state.syncer = syncer
    pages.install(app, settings.ml_port)
    app.add_middleware(Door, settings=settings)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
    app.add_middleware(
        HostCheck, allowed=settings.allowed_hosts, is_for_programs=lambda path: path == "/health"
    )

    @app.exception_handler(SyncFailed)
    def failed(request: Request, failure: SyncFailed) -> JSONResponse:
        headers = {"Retry-After": str(failure.wait)} if failure.wait else {}
        detail = f"{failure.cause[:1].upper()}{failure.cause[1:].rstrip('.')}. {failure.cure}"
        return Problem(failure.status, failure.title, detail, headers=headers, kind=failure.kind).response(
            request
        )

    @app.get("/checkout")
    @app.post("/checkout")
    async def checkout() -> Checkout:
        """Sync now and say what was found. Calls that come while a sync runs share the next one."""
        return Checkout.model_validate(await asyncio.wrap_future(syncer.ask()))

    @app.post("/webhook")
    async def deliver(request: Request) -> JSONResponse:
        """For GitHub: events `pull_request` and `push`, signed with SLIPWAY_WEBHOOK_SECRET."""
        try:
            status, answer = await webhook.take(request)
        except Problem as problem:
            metrics.webhooks.labels(problem.status).inc()
            raise
        metrics.webhooks.labels(status).inc()
        return JSONResponse(answer, status)

    @app.get("/pull-requests", response_model=dict[str, Any])
    def pulls(
        request: Request,
        *,
        state: Which = "accepted",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
        repository: str | None = None,
        branch: str | None = None,
    ) -> Any:
        """What is known, newest first; `accepted` were merged into the branch that is followed.

        Where several repositories or branches are followed, `repository` and `branch` say which one.
        `before` is the number of a pull request: those that come after it. `next` has the next such address.
        """
        repository, branch = chosen(settings, repository, branch)
        found, became = look(sessions, repository, branch, state, limit=limit + 1, before=before)
        asked: dict[str, Any] = {
            "state": state,
            "limit": limit,
            "before": found[:limit][-1].number if found else 0,
        }
        which = {"repository": repository, "branch": branch} if len(settings.followed) > 1 else {}
        document = {
            "repository": repository,
            "branch": branch,
            "state": state,
            "pull_requests": [row(pull, became) for pull in found[:limit]],
            "trouble": syncer.last.said if isinstance(syncer.last, SyncFailed) else None,
            "next": f"/pull-requests?{urlencode(asked | which)}" if len(found) > limit else None,
        }
        if pages.wanted(request):
            return pages.page(request, document, settings.ml_port)
        return document

    @app.get("/health")
    def health() -> dict[str, Any]:
        """200 when a sync can run; what GitHub says does not matter here."""
        check_health(settings, sessions, syncer)
        return {"status": "ok", "repository": ", ".join(settings.branches), "last_sync": last(syncer)}

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def check_health(settings: VcsSettings, sessions: sessionmaker[Session], syncer: Syncer) -> None:
    """`Problem` where no sync can run."""
    try:
        with sessions() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        raise database_gone() from error
    if syncer.has_ended:
        raise Problem(503, "The thread that syncs has ended", "It is started again within seconds.")
    if not installed(settings.singer_home):
        missing = SyncFailed("not-installed", "an environment is missing or out of date")
        raise Problem(missing.status, missing.title, missing.cure)


async def look_after(syncer: Syncer) -> None:
    """Start the thread again where it ends; until then /health tells."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        syncer.restart_if_ended()


def chosen(settings: VcsSettings, repository: str | None, branch: str | None) -> tuple[str, str]:
    """The repository and the branch that are asked for, else those of the first model."""
    repository = repository or next(iter(settings.branches))
    if repository not in settings.branches:
        followed = ", ".join(settings.branches)
        raise Problem(404, "This repository is not followed", f"This appliance follows {followed}.")
    return repository, branch or settings.branches[repository][0]


def look(
    sessions: sessionmaker[Session],
    repository: str,
    branch: str,
    state: Which,
    *,
    limit: int,
    before: int | None,
) -> tuple[Sequence[PullRequest], Mapping[str, Release]]:
    """Pull requests, and the newest release of each commit that they made."""
    try:
        with sessions() as session:
            found = pull_requests.listed(session, repository, branch, state, limit=limit, before=before)
            commits = [pull.merge_commit_sha for pull in found if pull.merge_commit_sha]
            return found, releases.of_commits(session, repository, commits)
    except SQLAlchemyError as error:
        raise database_gone() from error


def row(pull: PullRequest, became: Mapping[str, Release]) -> dict[str, Any]:
    release = became.get(pull.merge_commit_sha or "") if pull.merged_at else None
    return {
        "number": pull.number,
        "title": pull.title,
        "state": "merged" if pull.merged_at else pull.state,
        "author": pull.user_login,
        "branch": pull.base_ref,
        "commit": pull.merge_commit_sha,
        "created_at": pull.created_at,
        "updated_at": pull.updated_at,
        "merged_at": pull.merged_at,
        "url": pull.html_url,
        "release": {"id": release.id, "status": release.status, "reason": release.reason}
        if release
        else None,
    }


def last(syncer: Syncer) -> str:
    if syncer.last is None:
        return "none yet"
    return "ok" if isinstance(syncer.last, Synced) else str(syncer.last)


def database_gone() -> Problem:
    gone = SyncFailed("database-gone", "")
    return Problem(gone.status, gone.title, gone.cure, kind=gone.kind)
