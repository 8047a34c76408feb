"""Content negotiation: a page or data, gzip or plain, and HEAD for what GET would answer."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON_TYPES = ("application/json", "application/*", "*/*")  # the first that is named counts


def wants_page(request: Request) -> bool:
    """Return whether a client prefers HTML to JSON."""
    wishes = parse_accept(request.headers.get("accept", ""))
    page = wishes.get("text/html", 0.0)
    data = next((wishes[kind] for kind in JSON_TYPES if kind in wishes), 0.0)
    return page > 0 and page >= data


def accepts_gzip(accepted: str) -> bool:
    """Return whether a header `Accept-Encoding` allows gzip."""
    return parse_accept(accepted).get("gzip", 0.0) > 0


def parse_accept(header: str) -> dict[str, float]:
    """Return the entries of an `Accept…` header with their weights, q from 0 to 1 (RFC 9110, 12.4.2).

    A q that is no number counts as 0.
    """
    wishes = {}
    for part in header.split(","):
        name, *options = (piece.strip() for piece in part.lower().split(";"))
        weight = next((text[2:] for text in options if text.startswith("q=")), "1")
        try:
            wishes[name] = float(weight)
        except ValueError:
            wishes[name] = 0.0
    return wishes


class HeadMiddleware:
    """A middleware that answers HEAD with GET's header: FastAPI's routes handle only the methods named."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        is_done = False

        async def send_header(message: Message) -> None:
            nonlocal is_done
            if message["type"] == "http.response.start":
                await send(message)
                is_done = True
                await send({"type": "http.response.body", "body": b""})  # also of a stream, which has no end

        async def receive_end() -> Message:
            return {"type": "http.disconnect"} if is_done else await receive()

        await self.app({**scope, "method": "GET"}, receive_end, send_header)
