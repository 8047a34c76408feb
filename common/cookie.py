"""What a browser presents in the token's place: made from it, void with it, of no use as a bearer's."""

import hashlib
import hmac

from starlette.requests import HTTPConnection
from starlette.responses import Response

NAME = "slipway_operator"
LASTS = 30 * 24 * 3600  # seconds


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
    """Whether a page of ours sent this: a browser says so in one of two headers, of which it makes both."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("origin") == f"{request.url.scheme}://{request.url.netloc}"
