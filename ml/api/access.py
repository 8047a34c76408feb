"""Who may decide: whoever presents the operators' token, or has signed in with it."""

from dataclasses import dataclass, field
from typing import Self

from fastapi import Request
from loguru import logger
from starlette.requests import HTTPConnection

from common import cookie, token
from common.brake import Brake
from common.loopback import is_loopback
from common.problems import Problem
from common.reach import bearer
from ml.settings import Settings

CURE = (
    "Send it as `Authorization: Bearer <token>`. It is what SLIPWAY_TOKEN says; with that not set, it is in "
    "the file `token` in the appliance's SLIPWAY_HOME. The command line reads it from there by itself."
)


@dataclass(frozen=True)
class Operators:
    """A dependency of every call that changes something."""

    token: str = field(repr=False)
    brake: Brake = field(default_factory=Brake, repr=False, compare=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The token that was given, else the appliance's own, made and shown when there is none yet."""
        if settings.token:
            return cls(settings.token)
        kept = token.path(settings.home.absolute())
        try:
            made = token.make(kept.parent)
            known = token.kept(kept.parent)
        except OSError as error:
            raise SystemExit(f"the operators' token at {kept} cannot be used: {error.strerror}") from error
        if known is None:
            raise SystemExit(f"{kept} is empty: take it away, and a new token is made")
        try:
            token.check(known)
        except ValueError as error:
            raise SystemExit(f"the operators' token at {kept} {error}, or take the file away") from error
        if made:
            host = settings.published or settings.bind
            logger.info(
                "operators sign in at http://{}:{}/sign-in?token={} (programs send what is after `token=` as "
                "`Authorization: Bearer`); shown once, and kept in {}, where the command line finds it",
                host if is_loopback(host) else "<this machine>",
                settings.ml_port,
                known,
                kept,
            )
        return cls(known)

    async def known(self, request: HTTPConnection) -> bool:
        """Whether the token comes along, or the cookie of a browser that has signed in with it."""
        presented = bearer(request)
        if presented is None:
            return cookie.is_presented(request, self.token)
        return await self.brake.judge(request, presented, self.token)

    def __call__(self, request: Request) -> None:
        """Pass, or raise a 401 that says what to do."""
        if "authorization" not in request.headers and cookie.is_presented(request, self.token):
            if not cookie.from_here(request):
                detail = "Another site has sent this: what a browser sends has to come from a page of ours."
                raise Problem(403, "Not from here", detail)
            return
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise denied("Bearer", f"{request.method} {request.url.path} needs the operators' token. {CURE}")
        if not token.same(presented.strip(), self.token):
            raise denied('Bearer error="invalid_token"', f"This is not the operators' token. {CURE}")


def denied(challenge: str, detail: str) -> Problem:
    return Problem(401, "For operators", detail, headers={"WWW-Authenticate": challenge})
