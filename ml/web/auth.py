"""Authentication of operators, by the operators' token or the cookie of a browser signed in with it."""

from dataclasses import dataclass, field
from typing import Self

from fastapi import Request
from loguru import logger
from starlette.requests import HTTPConnection

from common.auth import operator_token, session_cookie
from common.auth.access import get_bearer_token
from common.auth.throttle import TokenThrottle
from common.problems import ProblemError
from common.web.loopback import is_loopback
from ml.settings import MlSettings

HOW_TO_AUTHENTICATE = (
    "Send it as `Authorization: Bearer <token>`. It is the value of SLIPWAY_TOKEN; where that is not set, "
    "it is in the file `token` in the appliance's SLIPWAY_HOME. The command line reads it from there."
)


@dataclass(frozen=True)
class OperatorAuth:
    """The authentication dependency of every call that changes something."""

    token: str = field(repr=False)
    brake: TokenThrottle = field(default_factory=TokenThrottle, repr=False, compare=False)

    @classmethod
    def from_settings(cls, settings: MlSettings) -> Self:
        """Use the configured token, else the appliance's own, created and logged when there is none yet."""
        if settings.token:
            return cls(settings.token)
        path = operator_token.token_path(settings.home.absolute())
        try:
            made = operator_token.create_if_missing(path.parent)
            token = operator_token.read_stored(path.parent)
        except OSError as error:
            raise SystemExit(f"the operators' token at {path} cannot be used: {error.strerror}") from error
        if token is None:
            raise SystemExit(f"{path} is empty: remove it, and Slipway makes a new token")
        try:
            operator_token.check_strength(token)
        except ValueError as error:
            raise SystemExit(f"the operators' token at {path} {error}, or remove the file") from error
        if made:
            host = settings.published or settings.bind
            logger.info(
                "operators sign in at http://{}:{}/sign-in?token={} (programs send what is after `token=` as "
                "`Authorization: Bearer`); shown once, and stored in {}, where the command line finds it",
                host if is_loopback(host) else "<this machine>",
                settings.ml_port,
                token,
                path,
            )
        return cls(token)

    async def is_authenticated(self, request: HTTPConnection) -> bool:
        """Return True when the request has the token, or the cookie of a browser signed in with it."""
        presented = get_bearer_token(request)
        if presented is None:
            return session_cookie.has_valid_cookie(request, self.token)
        return await self.brake.check_token(request, presented, self.token)

    def __call__(self, request: Request) -> None:
        """Pass, or raise a `ProblemError`: a 401 with what to do, or a 403 for another site's form."""
        if "authorization" not in request.headers and session_cookie.has_valid_cookie(request, self.token):
            if not session_cookie.is_same_origin(request):
                detail = "Another site has sent this: what a browser sends has to come from a page of ours."
                raise ProblemError(403, "Not from here", detail)
            return
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized_problem(
                "Bearer",
                f"{request.method} {request.url.path} needs the operators' token. {HOW_TO_AUTHENTICATE}",
            )
        if not operator_token.is_same(presented.strip(), self.token):
            raise unauthorized_problem(
                'Bearer error="invalid_token"', f"This is not the operators' token. {HOW_TO_AUTHENTICATE}"
            )


def unauthorized_problem(challenge: str, detail: str) -> ProblemError:
    return ProblemError(401, "For operators", detail, headers={"WWW-Authenticate": challenge})
