"""The pull requests as a page, with what became of each."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from common.problems import Problem

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


def install(app: FastAPI) -> None:
    """What the page needs beside itself; answers travel packed."""
    app.mount("/static", StaticFiles(directory=RESOURCES / "static"))
    app.add_middleware(GZipMiddleware, minimum_size=1000)


def wanted(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def refused(problem: Problem, serve: str, *, sign_in: bool) -> HTMLResponse:
    template = templates.get_template("refused.html")
    text = template.render(problem=problem.document(), serve=serve, sign_in=sign_in)
    return HTMLResponse(text, problem.status, headers=SAFE | problem.headers)


def page(document: dict[str, Any], serve: str) -> HTMLResponse:
    text = templates.get_template("pull-requests.html").render(document, serve=serve)
    return HTMLResponse(text, headers=SAFE)
