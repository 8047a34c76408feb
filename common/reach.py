"""Who gets in: where and by which names a service is reached, who may look, what operators present."""

from typing import Annotated

from pydantic import AfterValidator, Field
from starlette.requests import HTTPConnection

from common import cookie
from common import token as tokens
from common.hosts import NAME, AllowedHosts, parse_names
from common.loopback import is_loopback
from common.settings import Settings


def names(text: str) -> str:
    parse_names(text)
    return text


class Reach(Settings):
    """Settings that `vcs` and `serve` have in common."""

    token: str = Field("", validation_alias="SLIPWAY_TOKEN", pattern=tokens.PLAIN, repr=False)
    bind: str = Field("127.0.0.1", validation_alias="SLIPWAY_BIND")
    published: str = Field("", validation_alias="SLIPWAY_PUBLISHED")  # where Docker lets others in
    hosts: Annotated[str, AfterValidator(names)] = Field("", validation_alias="SLIPWAY_HOSTS")
    private: bool | None = Field(None, validation_alias="SLIPWAY_PRIVATE")

    @property
    def allowed_hosts(self) -> AllowedHosts:
        """The names that requests may call the service by."""
        own = (place.lower() for place in (self.bind, self.published))
        return AllowedHosts([*(name for name in own if NAME.fullmatch(name)), *parse_names(self.hosts)])

    @property
    def is_private(self) -> bool:
        """Whether pages and logs are for those who present the token: beyond loopback, unless it is said."""
        return not is_loopback(self.published or self.bind) if self.private is None else self.private


def known(request: HTTPConnection, token: str) -> bool:
    """Whether the token comes along, or the cookie of a browser that has signed in with it."""
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return tokens.same(presented.strip(), token)
    return cookie.is_presented(request, token)


def on_port(request: HTTPConnection, port: int) -> str:
    """Where the other service is, as far as it can be told from here: the same host, another port."""
    host = request.url.hostname or "localhost"
    plain = {"http": 80, "https": 443}.get(request.url.scheme) == port
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}{'' if plain else f':{port}'}"
