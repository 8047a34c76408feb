"""The stand-in's responses: JSON, errors, and what a fault makes of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from resources.demo.github.faults import GitHubFault
from resources.demo.github.pulls import GitHubPullRequest

DOCUMENTATION_URL = "https://docs.github.com/rest"


@dataclass(frozen=True)
class GitHubResponse:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    type: str = "application/json; charset=utf-8"
    quota: bool = True  # an edge in front of GitHub sends no X-RateLimit headers, neither does a 401
    remaining: int | None = None


def json_response(value: Any, status: int = 200) -> GitHubResponse:
    return GitHubResponse(status, json.dumps(value).encode())


def error_response(status: int, message: str, **more: Any) -> GitHubResponse:
    body = {"message": message, "documentation_url": DOCUMENTATION_URL, "status": str(status)}
    return GitHubResponse(status, json.dumps(body).encode(), **more)


def not_found() -> GitHubResponse:
    return error_response(404, "Not Found")


def validation_response(resource: str, field_name: str, message: str) -> GitHubResponse:
    """Return 422 as GitHub does for a field that it does not take."""
    errors = [{"resource": resource, "code": "custom", "field": field_name, "message": message}]
    body = {
        "message": "Validation Failed",
        "errors": errors,
        "documentation_url": DOCUMENTATION_URL,
        "status": "422",
    }
    return GitHubResponse(422, json.dumps(body).encode())


def link_headers(url: str, query: dict[str, str], page: int, last: int) -> dict[str, str]:
    pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    if page >= last:
        del pages["next"], pages["last"]
    if page <= 1:
        del pages["prev"], pages["first"]
    links = [f'<{url}?{urlencode({**query, "page": n})}>; rel="{rel}"' for rel, n in pages.items()]
    return {"Link": ", ".join(links)} if links else {}


def fault_response(fault: GitHubFault, reset: dict[str, str]) -> GitHubResponse | None:
    """Return the responses that carry no pull requests, with GitHub's wording."""
    retry = {"Retry-After": str(fault.wait)}
    failures = {
        "unauthorized": error_response(401, "Bad credentials", quota=False),
        "forbidden": error_response(403, "Resource not accessible by personal access token"),
        "rate-limit": error_response(
            403, "API rate limit exceeded for user ID 1.", headers=reset, remaining=0
        ),
        "secondary-rate-limit": error_response(
            403, "You have exceeded a secondary rate limit.", headers=retry
        ),
        "too-many-requests": error_response(429, "Too many requests", headers=retry),
        "not-found": not_found(),
        "validation": error_response(422, "Validation Failed"),
        "secondary-without-wait": error_response(403, "You have exceeded a secondary rate limit."),
        "server-error": error_response(500, "Server Error"),
        "bad-gateway": GitHubResponse(
            502, b"<html><h1>502 Bad Gateway</h1></html>", type="text/html", quota=False
        ),
        "html": GitHubResponse(200, b"<!DOCTYPE html><html><h1>Unicorn!</h1></html>", type="text/html"),
    }
    return failures.get(fault.kind)


def alter_response(fault: GitHubFault, answer: GitHubResponse, reset: dict[str, str]) -> GitHubResponse:
    """Return the responses that do carry pull requests, but not as they should."""
    match fault.kind:
        case "truncated":
            return GitHubResponse(200, answer.body[: len(answer.body) // 2], answer.headers)
        case "too-large":
            return GitHubResponse(200, answer.body + b" " * (65 << 20), answer.headers)
        case "last-call":
            return GitHubResponse(200, answer.body, {**answer.headers, **reset}, remaining=0)
    return answer


def garble_pulls(pulls: list[GitHubPullRequest], fault: GitHubFault) -> list[GitHubPullRequest]:
    return [
        GitHubPullRequest(**{**vars(p), "wrong": fault.fields}) if i == 0 else p for i, p in enumerate(pulls)
    ]
