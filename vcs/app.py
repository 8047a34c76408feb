"""vcs over HTTP: /, /checkout, /webhook, /pull-requests, /health, /metrics."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from common import problems
from common.problems import ProblemError
from common.web.hosts import HostCheckMiddleware
from common.web.negotiation import HeadMiddleware, wants_page
from common.web.proxies import TrustedProxyMiddleware, prefix_document
from db import pull_requests, releases
from db.models import Release
from db.pull_requests import Accepted, PullRequestFilter
from db.vcs_models import PullRequest
from vcs import pages
from vcs.auth_middleware import VcsAuthMiddleware
from vcs.errors import SyncError
from vcs.github_app import open_access
from vcs.install import is_installed
from vcs.metrics import VcsMetrics
from vcs.notifications.settings import NotificationSettings
from vcs.notifications.thread import NotificationThread
from vcs.outbox import OutboxThread
from vcs.recheck_events import RecheckEvents
from vcs.settings import VcsSettings
from vcs.singer import Singer, not_installed_error
from vcs.sync import PullRequestSync, SyncReport
from vcs.sync_thread import SyncThread
from vcs.webhook import Webhook

WATCH_SECONDS = 5.0
AppThread = SyncThread | OutboxThread | NotificationThread
JOIN_SECONDS = {SyncThread: 3, OutboxThread: 1, NotificationThread: 1}


class Checkout(BaseModel, from_attributes=True):
    repository: str
    rows: int
    newly_accepted: int
    newest_merge: Accepted | None
    seconds: float


def create_app(
    settings: VcsSettings,
    sessions: sessionmaker[Session],
    notifications: NotificationSettings | None = None,
) -> FastAPI:
    """Create the app; its threads run from its start to its end. None: nobody is told of anything.

    Raises `KeyFileError` where the GitHub App's key cannot be used.
    """
    access = open_access(settings)
    singer = Singer(settings, access)
    metrics = VcsMetrics(singer)
    syncer = SyncThread(
        PullRequestSync(settings, sessions, singer), settings.sync_seconds, metrics.observe_sync
    )
    outbox = OutboxThread(settings, sessions, access)
    threads: list[AppThread] = [syncer, outbox]
    if notifications is not None:
        url = settings.database_url.get_secret_value()
        threads.append(NotificationThread(notifications, sessions, url))
    webhook = Webhook(
        settings.webhook_secret.get_secret_value(),
        settings.branches,
        sessions,
        trigger_sync=syncer.trigger_sync,
        rechecks=RecheckEvents(settings.model_entries, access.app_id, sessions),
    )

    app = FastAPI(
        title="Slipway vcs",
        description=__doc__,
        lifespan=lambda _: run_threads(threads, webhook),
        responses=problems.PROBLEM_RESPONSES,
    )
    app.state.threads = threads
    pages.install(app, settings.ml_port)
    app.add_middleware(VcsAuthMiddleware, settings=settings)
    app.add_middleware(TrustedProxyMiddleware, trusted_hosts=settings.trusted_proxies)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(
        HostCheckMiddleware, allowed=settings.allowed_hosts, is_for_programs=lambda path: path == "/health"
    )

    @app.exception_handler(SyncError)
    def failed(request: Request, failure: SyncError) -> JSONResponse:
        headers = {"Retry-After": str(failure.wait)} if failure.wait else {}
        detail = f"{failure.cause[:1].upper()}{failure.cause[1:].rstrip('.')}. {failure.hint}"
        return ProblemError(
            failure.status, failure.title, detail, headers=headers, kind=failure.kind
        ).to_response(request)

    @app.get("/checkout")
    @app.post("/checkout")
    async def checkout() -> Checkout:
        """Sync now and report the result. Calls during a sync share the next one."""
        return Checkout.model_validate(await asyncio.wrap_future(syncer.request_sync()))

    @app.post("/webhook")
    async def deliver(request: Request) -> JSONResponse:
        """Accept GitHub's events, signed with SLIPWAY_WEBHOOK_SECRET.

        `pull_request`, `push` and `merge_group` trigger a sync; of a GitHub App, `check_run` and
        `check_suite` trigger a new check.
        """
        if settings.git_addresses.keys() >= settings.branches.keys():
            raise ProblemError(
                404,
                "Only GitHub's webhooks are supported",
                "The followed repositories are not on GitHub: have a hook of its server call POST /checkout.",
            )
        try:
            status, answer = await webhook.handle_delivery(request)
        except ProblemError as problem:
            metrics.webhooks.labels(problem.status).inc()
            raise
        metrics.webhooks.labels(status).inc()
        return JSONResponse(answer, status)

    @app.get("/pull-requests", response_model=dict[str, Any])
    def pulls(
        request: Request,
        *,
        state: PullRequestFilter = "accepted",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
        repository: str | None = None,
        branch: str | None = None,
    ) -> Any:
        """Return the stored pull requests, newest first; `accepted` were merged into the followed branch.

        Where several repositories or branches are followed, `repository` and `branch` choose one.
        `before` is the number of a pull request: those after it. `next` is the next page's address.
        """
        repository, branch = choose_branch(settings, repository, branch)
        found, became = read_pull_requests(
            sessions, repository, branch, state, limit=limit + 1, before=before
        )
        query: dict[str, Any] = {
            "state": state,
            "limit": limit,
            "before": found[:limit][-1].number if found else 0,
        }
        which = {"repository": repository, "branch": branch} if len(settings.model_entries) > 1 else {}
        document = {
            "repository": repository,
            "branch": branch,
            "state": state,
            "pull_requests": [pull_request_document(pull, became) for pull in found[:limit]],
            "trouble": syncer.last_outcome.summary if isinstance(syncer.last_outcome, SyncError) else None,
            "next": f"/pull-requests?{urlencode(query | which)}" if len(found) > limit else None,
        }
        if wants_page(request):
            source = "The git server" if repository in settings.git_addresses else "GitHub"
            return pages.render_pull_requests(request, document, settings.ml_port, source)
        return prefix_document(request, document)

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Return 200 when a sync can run; errors of GitHub do not matter here."""
        check_health(settings, sessions, app.state.threads)
        return {
            "status": "ok",
            "repository": ", ".join(settings.branches),
            "last_sync": describe_last_sync(syncer),
        }

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def prometheus() -> Response:
        return Response(metrics.render_text(), media_type=CONTENT_TYPE_LATEST)

    return app


def check_health(
    settings: VcsSettings, sessions: sessionmaker[Session], threads: Sequence[AppThread]
) -> None:
    """Raise `ProblemError` where no sync can run, or nothing can be delivered to GitHub."""
    with open_session(sessions) as session:
        session.execute(text("SELECT 1"))
    if any(thread.has_ended for thread in threads):
        raise ProblemError(
            503, "A thread that syncs or delivers has ended", "It is restarted within seconds."
        )
    if not is_installed(settings.singer_home):
        missing = not_installed_error(settings.singer_home)
        raise ProblemError(missing.status, missing.title, missing.hint)


@asynccontextmanager
async def run_threads(threads: Sequence[AppThread], webhook: Webhook) -> AsyncIterator[None]:
    """Run the threads while the app runs."""
    for thread in threads:
        thread.start()
    watching = asyncio.create_task(supervise_threads(threads))
    yield
    watching.cancel()
    for thread in threads:
        thread.stop()
    webhook.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, JOIN_SECONDS[type(thread)])


async def supervise_threads(threads: Sequence[AppThread]) -> None:
    """Restart a thread when it ends; until then /health reports it."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        for thread in threads:
            thread.restart_if_ended()


def choose_branch(settings: VcsSettings, repository: str | None, branch: str | None) -> tuple[str, str]:
    """Return the requested repository and branch, else those of the first model."""
    repository = repository or next(iter(settings.branches))
    if repository not in settings.branches:
        followed = ", ".join(settings.branches)
        raise ProblemError(404, "This repository is not followed", f"This appliance follows {followed}.")
    return repository, branch or settings.branches[repository][0]


def read_pull_requests(
    sessions: sessionmaker[Session],
    repository: str,
    branch: str,
    state: PullRequestFilter,
    *,
    limit: int,
    before: int | None,
) -> tuple[Sequence[PullRequest], Mapping[str, Release]]:
    """Return pull requests, and the newest release of each of their commits."""
    with open_session(sessions) as session:
        found = pull_requests.list_pull_requests(
            session, repository, branch, state, limit=limit, before=before
        )
        commits = [pull.merge_commit_sha for pull in found if pull.merge_commit_sha]
        return found, releases.find_by_commits(session, repository, commits)


def pull_request_document(pull: PullRequest, became: Mapping[str, Release]) -> dict[str, Any]:
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


def describe_last_sync(syncer: SyncThread) -> str:
    if syncer.last_outcome is None:
        return "none yet"
    return "ok" if isinstance(syncer.last_outcome, SyncReport) else str(syncer.last_outcome)


@contextmanager
def open_session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Open a session; an error of the database becomes a `ProblemError`."""
    try:
        with sessions() as session:
            yield session
    except SQLAlchemyError as error:
        gone = SyncError("database-gone", "")
        raise ProblemError(gone.status, gone.title, gone.hint, kind=gone.kind) from error
