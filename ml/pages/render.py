"""Pages from templates: everything escaped, nothing from another host, the page or the data by `Accept`."""

import gzip
import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette import staticfiles
from starlette.datastructures import Headers
from starlette.types import Scope

RESOURCES = Path(__file__).parents[2] / "resources"
STATIC = RESOURCES / "static"
READ = 100_000  # characters of a JSON document in a page

SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept, Accept-Encoding",
}

templates = Environment(
    loader=FileSystemLoader(RESOURCES / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class StaticFiles(staticfiles.StaticFiles):
    """Files whose address changes with what is in them: a browser asks for each once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200 and isinstance(response, FileResponse) and packs(Headers(scope=scope)):
            content, kind = packed(Path(response.path)), response.media_type
            response = Response(content, headers={"Content-Encoding": "gzip"}, media_type=kind)
        response.headers["Vary"] = "Accept-Encoding"
        if scope["query_string"]:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def packs(headers: Headers) -> bool:
    """Whether who asks takes gzip."""
    return "gzip" in headers.get("accept-encoding", "")


@cache
def packed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)


@cache
def static(name: str) -> str:
    """The address of a static file, with a digest of it."""
    return f"/static/{name}?{hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


def wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def answer(request: Request, template: str, document: Mapping[str, Any], **more: Any) -> Response:
    """`document` for a program; for a person `template`, which also gets `more`."""
    if wants_page(request):
        return page(request, template, 200, **document, **more)
    return JSONResponse(document, headers={"Vary": "Accept"})


def page(request: Request, template: str, status: int, /, **values: Any) -> HTMLResponse:
    base = str(request.base_url).rstrip("/")
    text = templates.get_template(template).render(
        path=request.url.path, base=base, operator=request.scope.get("operator", False), **values
    )
    response = HTMLResponse(text, status, headers=SAFE)
    if packs(request.headers):
        response.body = gzip.compress(response.body, compresslevel=5)
        response.headers.update({"Content-Encoding": "gzip", "Content-Length": str(len(response.body))})
    return response


def ago(moment: datetime | str | None) -> str:
    """How long ago, as people say it."""
    if moment is None:
        return "–"
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count != 1 else ''} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} seconds ago"


def moment(text: str) -> str:
    """A time over HTTP as people read it."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def lasting(start: str | None, end: str | None) -> str:
    """How long something took, or has taken so far."""
    if start is None:
        return "–"
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    seconds = (until - datetime.fromisoformat(start)).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def number(value: Any) -> str:
    """A number as short as it can be read: six significant digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"


def short(value: Any) -> str:
    """A number at a glance: four significant digits, whole ones when it is large."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return number(value)


def inline(value: Any) -> str:
    """What a model says of itself in one line: plain values in words, anything deeper as JSON."""
    if isinstance(value, list) and all(not isinstance(one, (list, dict)) for one in value):
        return ", ".join(map(inline, value))
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "–" if value is None else str(value)


def pretty(value: Any) -> str:
    """JSON over several lines, as much as somebody reads: depth alone makes a lot of a little."""
    text, room = [], READ
    for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        text.append(piece[:room])
        if (room := room - len(piece)) < 0:
            return "".join(text) + "\n… the rest is left out here"
    return "".join(text)


def plain(value: Any) -> Any:
    """A dataclass as what JSON has."""
    return asdict(value)


def shell(value: Any) -> str:
    """JSON as one argument of a command line."""
    return shlex.quote(json.dumps(value))


templates.globals.update(static=static, lasting=lasting)
templates.filters.update(
    python=repr,
    ago=ago,
    moment=moment,
    number=number,
    short=short,
    inline=inline,
    pretty=pretty,
    plain=plain,
    shell=shell,
)
