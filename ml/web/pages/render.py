"""Rendering of pages from templates, escaped and without other hosts, or of their data by `Accept`."""

import gzip
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from markupsafe import Markup, escape
from starlette import staticfiles
from starlette.datastructures import Headers
from starlette.types import Scope

from common import units
from common.figures import format_change, format_number, format_short, relative_change
from common.plain import escape_unprintable
from common.web.negotiation import accepts_gzip, wants_page
from common.web.proxies import build_base_url, prefix_document, prefix_page
from common.web.templates import STATIC_FOLDER, build_security_headers, create_templates

MAX_LINE_CHARS = 200  # characters of a line of text of somebody outside
JOINERS = "\u200c\u200d"
MAX_JSON_CHARS = 100_000  # characters of a JSON document in a page
GET_CALL = r"\bGET (/(?:[a-z]+(?:/[a-z]+)*)?)(?![/\w])"

SECURITY_HEADERS = build_security_headers(allow_scripts=True, vary="Accept, Accept-Encoding")
templates = create_templates()


class CachedStaticFiles(staticfiles.StaticFiles):
    """Static files whose URL changes with their content: a browser requests each once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if (
            response.status_code == 200
            and isinstance(response, FileResponse)
            and accepts_gzip(Headers(scope=scope).get("accept-encoding", ""))
        ):
            content, kind = read_gzipped(Path(response.path)), response.media_type
            response = Response(content, headers={"Content-Encoding": "gzip"}, media_type=kind)
        response.headers["Vary"] = "Accept-Encoding"
        if scope["query_string"]:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


@cache
def read_gzipped(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)


@cache
def get_static_url(name: str) -> str:
    """Return the URL of a static file, with a digest of its content."""
    return f"/static/{name}?{hashlib.sha256((STATIC_FOLDER / name).read_bytes()).hexdigest()[:12]}"


def negotiate_response(request: Request, template: str, document: Mapping[str, Any], **more: Any) -> Response:
    """Return `document` as JSON to a program, and to a browser `template`, which also gets `more`."""
    if wants_page(request):
        return render_page(request, template, 200, **document, **more)
    return JSONResponse(prefix_document(request, document), headers={"Vary": "Accept"})


def render_page(request: Request, template: str, status: int, /, **values: Any) -> HTMLResponse:
    text = templates.get_template(template).render(
        path=request.url.path,
        base=build_base_url(request),
        operator=request.scope.get("operator", False),
        is_check=getattr(request.app.state, "is_check", False),
        **values,
    )
    response = HTMLResponse(prefix_page(request, text), status, headers=SECURITY_HEADERS)
    if accepts_gzip(request.headers.get("accept-encoding", "")):
        response.body = gzip.compress(response.body, compresslevel=5)
        response.headers.update({"Content-Encoding": "gzip", "Content-Length": str(len(response.body))})
    return response


def format_age(at: datetime | str | None, now: datetime | None) -> str:
    """Return how long before `now` that was, both by one clock; the time itself without `now`."""
    if at is None or now is None:
        return format_utc(at) if at else "–"
    seconds = max(0.0, (now - parse_time(at)).total_seconds())
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count != 1 else ''} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} seconds ago"


def format_utc(at: datetime | str) -> str:
    """Return a time, given as such or as text, in a readable form."""
    return f"{parse_time(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_duration(start: datetime | str | None, end: datetime | str) -> str:
    """Return how long something took, or has taken until now: both by one clock."""
    if start is None:
        return "–"
    seconds = max(0.0, (parse_time(end) - parse_time(start)).total_seconds())  # clocks are set
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def parse_time(at: datetime | str) -> datetime:
    return at if isinstance(at, datetime) else datetime.fromisoformat(at)


def format_count(things: int) -> str:
    """Return a count with thousands separators: it is never a year."""
    return f"{things:,}"


def format_bound(value: float) -> str:
    """Return the bound of a field as it is typed: it may be a year."""
    return str(value).removesuffix(".0")


def format_inline(value: Any) -> str:
    """Return a value of a model's info() in one line: plain values as text, nested ones as JSON."""
    if isinstance(value, list) and all(not isinstance(one, (list, dict)) for one in value):
        return ", ".join(map(format_inline, value))
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "–" if value is None else str(value)


def format_line(text: str | None, limit: int = MAX_LINE_CHARS) -> str:
    """Return text of somebody outside as one line of at most `limit` characters and an ellipsis.

    What hides or reverses text is escaped; joiners are not, as emoji and some scripts need them.
    """
    line = " ".join((text or "")[: 4 * limit].split())
    return escape_unprintable(line if len(line) <= limit else f"{line[:limit]}…", allowed=JOINERS)


def format_json(value: Any) -> str:
    """Return indented JSON, cut to a readable length: deep nesting makes a long text of a little data."""
    text, room = [], MAX_JSON_CHARS
    for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        text.append(piece[:room])
        if (room := room - len(piece)) < 0:
            return "".join(text) + "\n… the rest is left out here"
    return "".join(text)


def to_dict(value: Any) -> Any:
    """Return a dataclass as a dict for JSON."""
    return asdict(value)


def link_calls(text: str) -> Markup:
    """Return a problem's text with Slipway's own calls as links."""
    return Markup(re.sub(GET_CALL, r'<a href="\1">\1</a>', str(escape(text))))  # noqa: S704 (GET_CALL has plain letters)


def quote_shell(value: Any) -> str:
    """Return JSON as one argument of a command line."""
    return shlex.quote(json.dumps(value))


templates.globals.update(static=get_static_url, lasting=format_duration, relative_change=relative_change)
templates.filters.update(
    python=repr,
    ago=format_age,
    bound=format_bound,
    change=format_change,
    duration=units.format_duration,
    count_of=format_count,
    moment=format_utc,
    number=format_number,
    short=format_short,
    inline=format_inline,
    line=format_line,
    linked=link_calls,
    pretty=format_json,
    plain=to_dict,
    shell=quote_shell,
)
