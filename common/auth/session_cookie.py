"""The session cookie in place of the token: derived from it, void with it, of no use as a bearer token."""

import hashlib
import hmac

from starlette.requests import HTTPConnection
from starlette.responses import Response

COOKIE_NAME = "slipway_operator"
MAX_AGE_SECONDS = 7 * 24 * 3600  # seconds


def cookie_value(token: str) -> str:
    """Return the cookie's value; the token cannot be derived from it."""
    return hmac.new(token.encode(), b"slipway: signed in", hashlib.sha256).hexdigest()


def set_cookie(response: Response, token: str, *, secure: bool) -> None:
    """Set a cookie that no script can read and no other site sends along."""
    response.set_cookie(
        COOKIE_NAME,
        cookie_value(token),
        max_age=MAX_AGE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=secure,
        path="/",
    )


def delete_cookie(response: Response) -> None:
    response.delete_cookie(COOKIE_NAME, httponly=True, samesite="strict", path="/")


def has_valid_cookie(request: HTTPConnection, token: str) -> bool:
    return hmac.compare_digest(request.cookies.get(COOKIE_NAME, "").encode(), cookie_value(token).encode())


def is_same_origin(request: HTTPConnection) -> bool:
    """Return whether one of our pages sent this, by one of two headers that browsers set and scripts cannot.

    Only under a name of ours: under another name, anybody's pages share our origin.
    """
    if not request.scope.get("is_known_host"):
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("origin") == service_origin(request)


def service_origin(request: HTTPConnection) -> str:
    """Return the service's origin as a browser writes it: without the scheme's default port."""
    scheme, host = request.url.scheme, request.headers.get("host", "").lower()
    return f"{scheme}://{host.removesuffix({'http': ':80', 'https': ':443'}.get(scheme, ''))}"
