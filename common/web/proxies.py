"""What a trusted proxy adds to a request: the scheme, the client, and the path below which it publishes us.

The path is in `X-Forwarded-Prefix`. The proxy takes it away before it passes a request on, so that routes and
access do not depend on it: only the addresses in answers do.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

PREFIX_HEADER = b"x-forwarded-prefix"
PREFIX = re.compile(rb"(?:/[A-Za-z0-9._~-]+)+")
PREFIX_KEY = "slipway.prefix"  # of the scope
DOCUMENT_PATHS = ("/openapi.json", "/docs")  # FastAPI adds `root_path` to the addresses in these
LINK_ATTRIBUTE = re.compile(r'(\s(?:href|action|src|data-address|data-follow)=")(?=/(?!/))')
LINK_KEYS = ("next", "older", "newer", "preview")  # of JSON documents


class TrustedProxyMiddleware:
    """A middleware that believes the `X-Forwarded-…` of trusted proxies, and of nobody else."""

    def __init__(self, app: ASGIApp, trusted_hosts: Collection[str]) -> None:
        self.app = app
        self._forward = ProxyHeadersMiddleware(app, [*trusted_hosts])  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if prefix := self._find_prefix(scope):
            scope[PREFIX_KEY] = prefix
            if scope["path"] in DOCUMENT_PATHS and scope["path"] != prefix:
                scope["root_path"] = prefix
            send = prefix_location(send, prefix)
        await self._forward(scope, receive, send)  # type: ignore[arg-type]

    def _find_prefix(self, scope: Scope) -> str:
        """Return the prefix that a trusted proxy named; empty for none, several and invalid ones."""
        if scope["type"] != "http" or not scope.get("client"):
            return ""
        found = [value.rstrip(b"/") for name, value in scope["headers"] if name == PREFIX_HEADER]
        if len(found) != 1 or not PREFIX.fullmatch(found[0]) or b"/.." in found[0]:
            return ""
        return found[0].decode() if scope["client"][0] in self._forward.trusted_hosts else ""


def prefix_location(send: Send, prefix: str) -> Send:
    """Add the prefix to the header `Location` of an answer, where that is a path of ours."""

    async def send_prefixed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            location = headers.get("location", "")
            if location.startswith("/") and not location.startswith("//"):
                headers["location"] = prefix + location
        await send(message)

    return send_prefixed


def get_prefix(request: HTTPConnection) -> str:
    return str(request.scope.get(PREFIX_KEY, ""))


def build_base_url(request: HTTPConnection) -> str:
    """Return the service's address as its client knows it, without a slash at its end."""
    return f"{request.url.scheme}://{request.url.netloc}{get_prefix(request)}"


def prefix_page(request: HTTPConnection, page: str) -> str:
    """Return a page with the prefix in its links; text of others has no quotes, as everything is escaped."""
    prefix = get_prefix(request)
    return LINK_ATTRIBUTE.sub(rf"\g<1>{prefix}", page) if prefix else page


def prefix_document(request: HTTPConnection, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a JSON document with the prefix in its links."""
    prefix = get_prefix(request)
    return add_prefix(document, prefix) if prefix else document


def add_prefix(value: Any, prefix: str) -> Any:
    if isinstance(value, Mapping):
        return {
            key: prefix + each if key in LINK_KEYS and isinstance(each, str) else add_prefix(each, prefix)
            for key, each in value.items()
        }
    return [add_prefix(each, prefix) for each in value] if isinstance(value, list) else value
