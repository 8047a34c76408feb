"""The pull requests as a page, with what became of each."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
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


def install(app: FastAPI, serve: int) -> None:
    """What the page needs beside itself; answers travel packed, and problems are pages for who wants one.

    `serve` is the port of the service beside it.
    """
    app.mount("/static", StaticFiles(directory=RESOURCES / "static"))
    app.add_middleware(GZipMiddleware, minimum_size=1000)

    def shown(request: Request, error: Problem) -> Response:
        return trouble(error, on_port(request, serve)) if wanted(request) else error.response(request)

    problems.install(app, shown)


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
