"""Who may decide: whoever presents the operators' token."""

from dataclasses import dataclass, field
from typing import Self

from fastapi import Request
from loguru import logger

from common import token
from common.problems import Problem
from ml.settings import Settings

CURE = (
    "Send it as `Authorization: Bearer <token>`. It is what SLIPWAY_TOKEN says; with that not set, it is in "
    "the file `token` in the appliance's SLIPWAY_HOME. The command line reads it from there by itself."
)


@dataclass(frozen=True)
class Operators:
    """A dependency of every call that changes something."""

    token: str = field(repr=False)

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
        if made:
            logger.info(
                "what an operator does over HTTP needs `Authorization: Bearer {}`; this is shown once, and "
                "kept in {}, where the command line finds it",
                known,
                kept,
            )
        return cls(known)

    def __call__(self, request: Request) -> None:
        """Pass, or raise a 401 that says what to do."""
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise denied("Bearer", f"{request.method} {request.url.path} needs the operators' token. {CURE}")
        if not token.same(presented.strip(), self.token):
            raise denied('Bearer error="invalid_token"', f"This is not the operators' token. {CURE}")


def denied(challenge: str, detail: str) -> Problem:
    return Problem(401, "For operators", detail, headers={"WWW-Authenticate": challenge})
