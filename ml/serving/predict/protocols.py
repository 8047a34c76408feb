"""What the inference protocols V1 and V2 share: versions, and errors as their clients read them."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from fastapi.routing import APIRoute

from common.problems import ProblemError
from ml.serving.registry import LiveRelease


def require_version(live: LiveRelease, version: str | None) -> LiveRelease:
    """Return the live release when it is the requested version; versions are the numbers of releases.

    Raises `ProblemError` when it is not.
    """
    if version is not None and version != str(live.release.id):
        detail = f"Version {version} is not served: live is release {live.release.id}."
        raise ProblemError(404, "No such version", detail)
    return live


class LegacyErrorRoute(APIRoute):
    """A route whose problems have a member `error` too, which clients of V1 and V2 read."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except ProblemError as problem:
                problem.extra["error"] = problem.detail
                raise

        return handle
