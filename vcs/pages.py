"""The pages of vcs: pull requests, with the release of each."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection
from starlette.staticfiles import StaticFiles

from common import problems
from common.auth.access import url_on_port
from common.problems import ProblemError
from common.web.negotiation import wants_page
from common.web.proxies import build_base_url, prefix_page
from common.web.templates import STATIC_FOLDER, build_security_headers, create_templates

SECURITY_HEADERS = build_security_headers(allow_scripts=False, vary="Accept")
templates = create_templates()

ENDPOINTS = {
    "POST /checkout": "checks for changes now, and returns what it found",
    "POST /webhook": "takes GitHub's events, signed",
    "GET /pull-requests": "lists pull requests, newest first, with their outcomes",
    "GET /health": "checks whether a sync can run",
    "GET /metrics": "lists the metrics for Prometheus",
    "GET /docs": "describes these calls",
}


def install(app: FastAPI, serve: int) -> None:
    """Install the static files, the start page, gzip, and problems as pages for browsers.

    `serve` is the port of the service `serve`.
    """
    app.mount("/static", StaticFiles(directory=STATIC_FOLDER))
    app.add_middleware(GZipMiddleware, minimum_size=1000)

    def shown(request: Request, error: ProblemError) -> Response:
        return (
            render_problem(request, error, url_on_port(request, serve))
            if wants_page(request)
            else error.to_response(request)
        )

    problems.install(app, shown)

    @app.get("/", response_model=None)
    def start(request: Request) -> Response:
        """Return the calls of vcs; a browser is redirected to the pull requests."""
        headers = {"Vary": "Accept"}
        if wants_page(request):
            return RedirectResponse("/pull-requests", 303, headers)
        return JSONResponse({"name": "slipway vcs", "calls": ENDPOINTS}, headers=headers)


def render_problem(
    request: HTTPConnection, problem: ProblemError, serve: str, *, sign_in: bool = False
) -> HTMLResponse:
    """Render a problem; `sign_in`: with a link to the operators' sign-in."""
    template = templates.get_template("trouble.html")
    text = template.render(problem=problem.to_document(), serve=serve, sign_in=sign_in)
    return HTMLResponse(
        prefix_page(request, text), problem.status, headers=SECURITY_HEADERS | problem.headers
    )


def render_pull_requests(request: Request, document: dict[str, Any], serve: int, source: str) -> HTMLResponse:
    """Render the pull requests; `source` names their origin: GitHub, or a git server."""
    template = templates.get_template("pull-requests.html")
    text = template.render(
        document, serve=url_on_port(request, serve), here=build_base_url(request), source=source
    )
    return HTMLResponse(prefix_page(request, text), headers=SECURITY_HEADERS)
