"""Requests to GitHub's REST API, bounded in size and time; errors by what follows from them.

https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

import json
import ssl
import time
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx

from common.text import first_line, make_storable
from common.web.loopback import is_loopback
from vcs.probe import make_tls_context, parse_quota

REQUEST_SECONDS = 15.0
MAX_ANSWER_BYTES = 8 << 20
MAX_MESSAGE_CHARS = 200
MAX_LIMIT_SECONDS = 3600.0
RATE_LIMIT_STATUSES = (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
API_VERSION = "2022-11-28"


class GitHubDownError(Exception):
    """GitHub has an error or cannot be reached; whether it did what was asked is not known."""


class RateLimitedError(Exception):
    """GitHub wants no calls for some seconds; None: it does not say for how many."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        super().__init__("GitHub asks for a pause")


class BadTokenError(Exception):
    """GitHub does not accept the token."""


class GitHubRefusalError(Exception):
    """GitHub does not do this: 403, 404, 410, 422 and the like, with its message."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(f"{status}: {message}")


class GitHubClient:
    """GitHub's API at one address; several threads may use it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _client(self) -> httpx.Client:
        headers = {
            "Accept": "application/vnd.github+json",
            "User-Agent": "slipway",
            "X-GitHub-Api-Version": API_VERSION,
        }
        return httpx.Client(
            headers=headers,
            timeout=REQUEST_SECONDS,
            trust_env=not is_loopback(urlsplit(self.url).hostname or ""),
            verify=make_tls_context(self.url),
            follow_redirects=True,
        )

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def send(
        self, method: str, path: str, token: str, seconds: float = REQUEST_SECONDS, **more: Any
    ) -> tuple[httpx.Response, bytes]:
        """Send one request with a token, and return its response of any status, and the body.

        Raises `GitHubDownError` where none comes in time.
        """
        deadline = time.monotonic() + min(REQUEST_SECONDS, seconds)
        login = {"Authorization": f"Bearer {token}"}
        try:
            with self._client.stream(
                method, f"{self.url}{path}", headers=login, timeout=min(REQUEST_SECONDS, seconds), **more
            ) as answer:
                return answer, read_answer(answer, deadline)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise GitHubDownError(type(error).__name__) from error


def parse_answer(answer: httpx.Response, content: bytes) -> Any:
    """Return a good response's JSON; raise what follows from another one."""
    check_status(answer, content)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GitHubDownError("its answer is no JSON") from error


def read_answer(answer: httpx.Response, deadline: float) -> bytes:
    """Return a response's body, bounded in size and time."""
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise GitHubDownError("its answer is too long")
        if time.monotonic() > deadline:
            raise GitHubDownError("its answers take too long")
    return b"".join(parts)


def check_status(answer: httpx.Response, content: bytes) -> None:
    """Raise what follows from a response that is no success."""
    status, message = answer.status_code, read_message(content)
    if answer.is_success:
        return
    if status in RATE_LIMIT_STATUSES and (limit := find_limit(answer, message)) is not None:
        raise limit
    if status == HTTPStatus.UNAUTHORIZED:
        raise BadTokenError(message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        raise GitHubDownError(f"it answers {status}")
    raise GitHubRefusalError(status, message)


def find_limit(answer: httpx.Response, message: str) -> RateLimitedError | None:
    """Return the limit that a 403 or 429 is about; None where it is about rights."""
    if (seconds := answer.headers.get("Retry-After", "")).isdigit():
        return RateLimitedError(min(float(seconds[:6]), MAX_LIMIT_SECONDS))
    quota = parse_quota(answer.headers)
    if quota is not None and quota.remaining == 0:
        return RateLimitedError(min(max(1.0, quota.seconds_left), MAX_LIMIT_SECONDS))
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS or "rate limit" in message.lower():
        return RateLimitedError(None)
    return None


def read_message(content: bytes) -> str:
    """Return GitHub's message in one line, with what it says of the first field."""
    try:
        document = json.loads(content)
        errors = document.get("errors") or [{}]
        more = errors[0].get("message", "") if isinstance(errors[0], dict) else str(errors[0])
        text = f"{document['message']}: {more}" if more else str(document["message"])
    except (ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError):
        return "it gives no reason"
    return make_storable(first_line(text, "it gives no reason"), MAX_MESSAGE_CHARS)
