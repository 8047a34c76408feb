"""GitHub's error responses, inside the tap's environment."""

import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

import requests  # of the tap's environment

MAX_WAIT_SECONDS = 5  # a limit that is lifted sooner is waited for
MAX_ANSWER_BYTES = 64 << 20  # a page of 100 pull requests, each with the longest text, has half of that
CHUNK_BYTES = 64 << 10


class TapError(Exception):
    """A failed request for pull requests; when it `is_transient`, a retry at once may help."""

    def __init__(
        self, kind: str, message: str, *, wait: int | None = None, is_transient: bool = False
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.wait, self.is_transient = kind, message, wait, is_transient

    def retry_delay(self, usual: float) -> float | None:
        """Return the seconds until a retry; None: no retry."""
        if self.wait is not None:
            return self.wait if self.wait <= MAX_WAIT_SECONDS else None
        return usual if self.is_transient else None


def read_github_clock(headers: Any) -> float:
    """Return seconds since 1970 by GitHub's clock; by ours without a Date header."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return time.time()


def read_answer(answer: requests.Response) -> bytes:
    """Return the body of a streamed response; raises `TapError` where it is longer than any of GitHub's."""
    content = bytearray()
    for chunk in answer.iter_content(CHUNK_BYTES):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise TapError("too-large", f"it is larger than {MAX_ANSWER_BYTES >> 20} MiB")
    return bytes(content)


def check_response(answer: requests.Response, content: bytes) -> None:
    """Raise `TapError` for an error response; GitHub sends both 403 and 429 for a limit."""
    status = answer.status_code
    if status == requests.codes.ok:
        return
    message = f"{status}: {find_message(content)}"
    if status in (requests.codes.forbidden, requests.codes.too_many_requests):
        raise_if_limited(answer, message)
    kinds = {
        401: "unauthorized",
        403: "forbidden",
        404: "not-found",
        429: "secondary-rate-limit",
        451: "forbidden",
    }
    if status >= requests.codes.internal_server_error:
        raise TapError("server-error", message, is_transient=True)
    raise TapError(kinds.get(status, "unexpected"), message)


def raise_if_limited(answer: requests.Response, message: str) -> None:
    """Raise `TapError` with the seconds to wait, where the response is a limit."""
    headers = answer.headers
    if headers.get("Retry-After", "").isdigit():
        raise TapError("secondary-rate-limit", message, wait=int(headers["Retry-After"]))
    if headers.get("X-RateLimit-Remaining") == "0":
        reset = headers.get("X-RateLimit-Reset", "")
        left = int(reset) - read_github_clock(headers) + 1 if reset.isdigit() else 60
        raise TapError("rate-limit", message, wait=max(1, int(left)))
    if "rate limit" in message or answer.status_code == requests.codes.too_many_requests:
        raise TapError("secondary-rate-limit", message, wait=60)  # GitHub: "wait at least one minute"


def find_root_message(error: BaseException) -> str:
    """Return the system's message, under the wrapping of requests and urllib3."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    message = error.strerror if isinstance(error, OSError) else None
    return message or str(error) or type(error).__name__


def find_message(content: bytes) -> str:
    """Return GitHub's own message, or the start of the response."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return " ".join(content[:200].decode("utf-8", "replace").split())
