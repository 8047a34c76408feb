"""The pull requests as a page, with what became of each."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from common import problems
from common.problems import Problem
from common.reach import on_port

RESOURCES = Path(__file__).parents[1] / "resources"
SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept",
}

templates = Environment(
    loader=FileSystemLoader(RESOURCES / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

CALLS = {
    "POST /checkout": "syncs with GitHub now, and says what was found",
    "POST /webhook": "takes GitHub's events, signed",
    "GET /pull-requests": "what is known, newest first, and what became of each",
    "GET /health": "whether a sync can run",
    "GET /metrics": "for Prometheus",
    "GET /docs": "these calls in detail",
}


def install(app: FastAPI, serve: int) -> None:
    """What the page needs beside itself; answers travel packed, and problems are pages for who wants one.

    `serve` is the port of the service beside it.
    """
    app.mount("/static", StaticFiles(directory=RESOURCES / "static"))
    app.add_middleware(GZipMiddleware, minimum_size=1000)

    def shown(request: Request, error: Problem) -> Response:
        return trouble(error, on_port(request, serve)) if wanted(request) else error.response(request)

    problems.install(app, shown)

    @app.get("/", response_model=None)
    def start(request: Request) -> Response:
        """What is here; a browser goes on to the pull requests."""
        headers = {"Vary": "Accept"}
        if wanted(request):
            return RedirectResponse("/pull-requests", 303, headers)
        return JSONResponse({"name": "slipway vcs", "calls": CALLS}, headers=headers)


def wanted(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def trouble(problem: Problem, serve: str, *, sign_in: bool = False) -> HTMLResponse:
    """A problem in words; `sign_in`: with the way to where operators sign in."""
    template = templates.get_template("trouble.html")
    text = template.render(problem=problem.document(), serve=serve, sign_in=sign_in)
    return HTMLResponse(text, problem.status, headers=SAFE | problem.headers)


def page(request: Request, document: dict[str, Any], serve: int) -> HTMLResponse:
    here = str(request.base_url).rstrip("/")
    template = templates.get_template("pull-requests.html")
    text = template.render(document, serve=on_port(request, serve), here=here)
    return HTMLResponse(text, headers=SAFE)
