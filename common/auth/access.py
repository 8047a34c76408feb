"""Access to a service: its address and host names, who may read its pages, which token operators present."""

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from common.auth import operator_token as tokens
from common.settings import Settings
from common.web.host_names import HOST_NAME, AllowedHosts, parse_names
from common.web.loopback import is_loopback

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection  # the settings of builders need no web framework

LOOPBACK_NETWORKS = "127.0.0.0/8,::1"


def check_names(text: str) -> str:
    parse_names(text)
    return text


def parse_proxies(text: str) -> tuple[str, ...]:
    """Return the addresses and networks of `SLIPWAY_PROXIES`; raises `ValueError` for what is neither."""
    entries = [entry for entry in re.split(r"[,\s]+", text) if entry and entry != "none"]
    try:
        return tuple(str(ip_network(entry, strict=False)) for entry in entries)
    except ValueError as error:
        raise ValueError(f"has to be addresses and networks, as 172.16.0.0/12, or none: {error}") from error


def check_proxies(text: str) -> str:
    parse_proxies(text)
    return text


def check_token(token: str) -> str:
    if token:
        tokens.check_strength(token)
    return token


class AccessSettings(Settings):
    """Settings that `vcs` and `serve` have in common."""

    token: Annotated[str, AfterValidator(check_token)] = Field(
        "", validation_alias="SLIPWAY_TOKEN", pattern=tokens.ALLOWED_CHARS, repr=False
    )
    bind: str = Field("127.0.0.1", validation_alias="SLIPWAY_BIND")
    published: str = Field("", validation_alias="SLIPWAY_PUBLISHED")  # the address that Docker publishes
    hosts: Annotated[str, AfterValidator(check_names)] = Field("", validation_alias="SLIPWAY_HOSTS")
    # proxies whose headers for a request's origin and scheme are trusted
    proxies: Annotated[str, AfterValidator(check_proxies)] = Field(
        LOOPBACK_NETWORKS, validation_alias="SLIPWAY_PROXIES"
    )
    private: bool | None = Field(None, validation_alias="SLIPWAY_PRIVATE")

    @property
    def allowed_hosts(self) -> AllowedHosts:
        """Return the host names that requests may use for the service."""
        own = (place.lower() for place in (self.bind, self.published))
        return AllowedHosts([*(name for name in own if HOST_NAME.fullmatch(name)), *parse_names(self.hosts)])

    @property
    def trusted_proxies(self) -> list[str]:
        return list(parse_proxies(self.proxies))

    @property
    def is_private(self) -> bool:
        """Return whether pages and logs need the token: beyond loopback, unless SLIPWAY_PRIVATE sets it."""
        return not is_loopback(self.published or self.bind) if self.private is None else self.private


def get_bearer_token(request: "HTTPConnection") -> str | None:
    """Return the token in the Authorization header, right or wrong; None when there is none."""
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    return (presented.strip() or None) if scheme.lower() == "bearer" else None


def url_on_port(request: "HTTPConnection", port: int) -> str:
    """Return the likely address of the other service: the same host, another port."""
    host = request.url.hostname or "localhost"
    plain = {"http": 80, "https": 443}.get(request.url.scheme) == port
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}{'' if plain else f':{port}'}"
