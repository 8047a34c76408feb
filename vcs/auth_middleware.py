"""The auth middleware: where the appliance is private, only its operators see its pull requests."""

from pathlib import Path

from loguru import logger
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from common.auth import operator_token, session_cookie
from common.auth.access import get_bearer_token, url_on_port
from common.auth.throttle import TokenThrottle
from common.problems import ProblemError
from common.web.negotiation import wants_page
from vcs import pages
from vcs.settings import VcsSettings

PUBLIC_PATHS = ("/checkout", "/webhook", "/health")  # open to all; so are those below:
PUBLIC_PREFIX = "/static/"
SIGN_IN_HINT = "vcs has no operators' token here: set SLIPWAY_TOKEN, and start the appliance again."


class VcsAuthMiddleware:
    """A middleware with `serve`'s token and cookie: browsers send cookies to every port of a host."""

    def __init__(self, app: ASGIApp, settings: VcsSettings) -> None:
        self.app, self.settings, self.throttle = app, settings, TokenThrottle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.settings.is_private:
            request = Request(scope)
            if not (request.url.path in PUBLIC_PATHS or request.url.path.startswith(PUBLIC_PREFIX)):
                operators = self.settings.token or read_operator_token(self.settings.home)
                try:
                    is_authenticated = bool(operators) and await self._is_authenticated(
                        request, operators or ""
                    )
                except ProblemError as problem:
                    await problem.to_response(request)(scope, receive, send)
                    return
                if not is_authenticated:
                    await self.reject_request(request, has_token=bool(operators))(scope, receive, send)
                    return
        await self.app(scope, receive, send)

    async def _is_authenticated(self, request: Request, operators: str) -> bool:
        presented = get_bearer_token(request)
        if presented is None:
            return session_cookie.has_valid_cookie(request, operators)
        return await self.throttle.check_token(request, presented, operators)

    def reject_request(self, request: Request, *, has_token: bool) -> ASGIApp:
        """Return a 401 that states where to sign in."""
        serve = url_on_port(request, self.settings.ml_port)
        hint = f"Sign in at {serve}/sign-in and come back, or send `Authorization: Bearer <token>`."
        detail = f"This appliance is private (SLIPWAY_PRIVATE). {hint if has_token else SIGN_IN_HINT}"
        problem = ProblemError(401, "For operators", detail, headers={"WWW-Authenticate": "Bearer"})
        if wants_page(request):
            return pages.render_problem(request, problem, serve, sign_in=has_token)
        return problem.to_response(request)


def read_operator_token(home: Path) -> str | None:
    """Return the token that `serve` generated in SLIPWAY_HOME, where that is shared with it."""
    try:
        return operator_token.read_stored(home)
    except OSError as error:
        logger.warning(
            "the operators' token at {} cannot be read: {}", operator_token.token_path(home), error.strerror
        )
        return None
