"""Who gets in: where and by which names a service is reached, who may look, what operators present."""

import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field
from starlette.requests import HTTPConnection

from common import token as tokens
from common.hosts import NAME, AllowedHosts, parse_names
from common.loopback import is_loopback
from common.settings import Settings

LOOPBACK = "127.0.0.0/8,::1"


def check_names(text: str) -> str:
    parse_names(text)
    return text


def parse_proxies(text: str) -> tuple[str, ...]:
    """Return the addresses and networks of `SLIPWAY_PROXIES`; raises `ValueError` for what is neither."""
    places = [place for place in re.split(r"[,\s]+", text) if place and place != "none"]
    try:
        return tuple(str(ip_network(place, strict=False)) for place in places)
    except ValueError as error:
        raise ValueError(f"has to be addresses and networks, as 172.16.0.0/12, or none: {error}") from error


def check_proxies(text: str) -> str:
    parse_proxies(text)
    return text


def check_token(token: str) -> str:
    if token:
        tokens.check(token)
    return token


class Reach(Settings):
    """Settings that `vcs` and `serve` have in common."""

    token: Annotated[str, AfterValidator(check_token)] = Field(
        "", validation_alias="SLIPWAY_TOKEN", pattern=tokens.PLAIN, repr=False
    )
    bind: str = Field("127.0.0.1", validation_alias="SLIPWAY_BIND")
    published: str = Field("", validation_alias="SLIPWAY_PUBLISHED")  # where Docker lets others in
    hosts: Annotated[str, AfterValidator(check_names)] = Field("", validation_alias="SLIPWAY_HOSTS")
    # whose word on where a request is from, and by which scheme, is taken
    proxies: Annotated[str, AfterValidator(check_proxies)] = Field(
        LOOPBACK, validation_alias="SLIPWAY_PROXIES"
    )
    private: bool | None = Field(None, validation_alias="SLIPWAY_PRIVATE")

    @property
    def allowed_hosts(self) -> AllowedHosts:
        """The names that requests may call the service by."""
        own = (place.lower() for place in (self.bind, self.published))
        return AllowedHosts([*(name for name in own if NAME.fullmatch(name)), *parse_names(self.hosts)])

    @property
    def trusted_proxies(self) -> list[str]:
        return list(parse_proxies(self.proxies))

    @property
    def is_private(self) -> bool:
        """Whether pages and logs are for those who present the token: beyond loopback, unless it is said."""
        return not is_loopback(self.published or self.bind) if self.private is None else self.private


def bearer(request: HTTPConnection) -> str | None:
    """Return the token that comes along in a header, right or wrong; None when there is none."""
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    return (presented.strip() or None) if scheme.lower() == "bearer" else None


def on_port(request: HTTPConnection, port: int) -> str:
    """Where the other service is, as far as it can be told from here: the same host, another port."""
    host = request.url.hostname or "localhost"
    plain = {"http": 80, "https": 443}.get(request.url.scheme) == port
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}{'' if plain else f':{port}'}"
