"""Host names: what a `Host` header may say, and which names a service goes by."""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

BUILTIN_NAMES = ("localhost", "serve", "vcs")  # this machine's, and the services' in docker-compose.yaml
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,254})(:[0-9]{0,5})?")


def parse_host(header: bytes) -> str | None:
    """Return the host of a `Host` header in lower case, without port and trailing dot; None if invalid."""
    found = AUTHORITY.fullmatch(header.decode("latin-1").lower())
    if found is None:
        return None
    host = found["host"].removesuffix(".")
    if host.startswith("["):
        return host if is_address(host) else None
    return host if HOST_NAME.fullmatch(host) else None


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, which no DNS record can redirect."""
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        else:
            IPv4Address(host)
    except AddressValueError:
        return False
    return True


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names of `SLIPWAY_HOSTS`; raises `ValueError` for an invalid name."""
    names = tuple(name.removesuffix(".") for name in re.split(r"[,\s]+", text.lower()) if name)
    for name in names:
        if not HOST_NAME.fullmatch(name.removeprefix("*.")):
            raise ValueError(
                f"{name!r} is not a name: give names without scheme and port, as slipway.example.com or "
                "*.example.com, with commas between"
            )
    return names


class AllowedHosts:
    """The host names of a service. Addresses are always allowed: DNS leads nobody to them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset((*BUILTIN_NAMES, *names))
        self.suffixes = (".localhost", *(name[1:] for name in self.names if name.startswith("*.")))

    def __contains__(self, host: str) -> bool:
        return host in self.names or host.endswith(self.suffixes) or is_address(host)
