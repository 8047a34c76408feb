"""Where the appliance is private, what is known of GitHub is shown to its operators alone."""

from pathlib import Path

from loguru import logger
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from common import cookie, token
from common.brake import Brake
from common.problems import Problem
from common.reach import bearer, on_port
from vcs import page
from vcs.settings import VcsSettings

OPEN = ("/checkout", "/webhook", "/health")  # to all; so is what is below:
OPEN_BELOW = "/static/"
UNKNOWN = "vcs does not know the operators' token here: set SLIPWAY_TOKEN, and start the appliance again."


class Door:
    """The same token and the same cookie as at `serve`: a browser sends it to every port of a host."""

    def __init__(self, inside: ASGIApp, settings: VcsSettings) -> None:
        self.inside, self.settings, self.brake = inside, settings, Brake()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.settings.is_private:
            request = Request(scope)
            if not (request.url.path in OPEN or request.url.path.startswith(OPEN_BELOW)):
                operators = self.settings.token or made(self.settings.home)
                try:
                    known = bool(operators) and await self._knows(request, operators or "")
                except Problem as problem:
                    await problem.response(request)(scope, receive, send)
                    return
                if not known:
                    await self.refuse(request, known_here=bool(operators))(scope, receive, send)
                    return
        await self.inside(scope, receive, send)

    async def _knows(self, request: Request, operators: str) -> bool:
        presented = bearer(request)
        if presented is None:
            return cookie.is_presented(request, operators)
        return await self.brake.judge(request, presented, operators)

    def refuse(self, request: Request, *, known_here: bool) -> ASGIApp:
        """In words that say where to sign in."""
        serve = on_port(request, self.settings.ml_port)
        cure = f"Sign in at {serve}/sign-in and come back, or send `Authorization: Bearer <token>`."
        detail = f"This appliance is private (SLIPWAY_PRIVATE). {cure if known_here else UNKNOWN}"
        problem = Problem(401, "For operators", detail, headers={"WWW-Authenticate": "Bearer"})
        if page.wanted(request):
            return page.trouble(problem, serve, sign_in=known_here)
        return problem.response(request)


def made(home: Path) -> str | None:
    """The token that `serve` has made in SLIPWAY_HOME, where that is shared with it."""
    try:
        return token.kept(home)
    except OSError as error:
        logger.warning("the operators' token at {} cannot be read: {}", token.path(home), error.strerror)
        return None
