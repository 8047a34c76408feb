"""What a browser presents in the token's place: made from it, void with it, of no use as a bearer's."""

import hashlib
import hmac

from starlette.requests import HTTPConnection
from starlette.responses import Response

NAME = "slipway_operator"
LASTS = 7 * 24 * 3600  # seconds


def worth(token: str) -> str:
    """The cookie's value: the token cannot be had from it."""
    return hmac.new(token.encode(), b"slipway: signed in", hashlib.sha256).hexdigest()


def give(response: Response, token: str, *, secure: bool) -> None:
    """Readable by no script, sent along by no other site."""
    response.set_cookie(
        NAME, worth(token), max_age=LASTS, httponly=True, samesite="strict", secure=secure, path="/"
    )


def take_back(response: Response) -> None:
    response.delete_cookie(NAME, httponly=True, samesite="strict", path="/")


def is_presented(request: HTTPConnection, token: str) -> bool:
    return hmac.compare_digest(request.cookies.get(NAME, "").encode(), worth(token).encode())


def from_here(request: HTTPConnection) -> bool:
    """Return whether a page of ours sent this, by one of two headers that a browser makes and no script.

    Ours were fetched under a name of ours: under another name anybody's pages are of the same origin.
    """
    if not request.scope.get("is_known_host"):
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("origin") == origin(request)


def origin(request: HTTPConnection) -> str:
    """Return the origin of the service as a browser writes it: without the port that goes by itself."""
    scheme, place = request.url.scheme, request.headers.get("host", "").lower()
    return f"{scheme}://{place.removesuffix({'http': ':80', 'https': ':443'}.get(scheme, ''))}"
