"""The names that a service goes by: a request that calls it by another one is not answered."""

import re
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from loguru import logger
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from common.problems import Problem

OWN = ("localhost", "serve", "vcs")  # this machine's, and the services' in docker-compose.yaml
NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,254})(:[0-9]{0,5})?")
MAX_REMEMBERED = 1000  # spellings of names that are allowed, with their ports
MAX_LOGGED = 100  # names that are logged, each once
# What browsers send and a page's script cannot leave out; over plain HTTP they send no `Sec-Fetch-*`
OF_A_BROWSER = frozenset(
    (b"origin", b"accept-language", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")
)


def parse_host(header: bytes) -> str | None:
    """Return the host of a `Host` header in lower case, without port and last dot; None when it has none."""
    found = AUTHORITY.fullmatch(header.decode("latin-1").lower())
    if found is None:
        return None
    host = found["host"].removesuffix(".")
    if host.startswith("["):
        return host if is_address(host) else None
    return host if NAME.fullmatch(host) else None


def is_address(host: str) -> bool:
    """Return whether a host is an IP address: no name that leads here, today or tomorrow."""
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        else:
            IPv4Address(host)
    except AddressValueError:
        return False
    return True


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names of `SLIPWAY_HOSTS`; raises `ValueError` for what is no name."""
    names = tuple(name.removesuffix(".") for name in re.split(r"[,\s]+", text.lower()) if name)
    for name in names:
        if not NAME.fullmatch(name.removeprefix("*.")):
            raise ValueError(
                f"{name!r} is no name: give names without scheme and port, as slipway.example.com or "
                "*.example.com, with commas between"
            )
    return names


class AllowedHosts:
    """The names that a service goes by. Addresses always are: who calls one was led there by no name."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset((*OWN, *names))
        self.endings = (".localhost", *(name[1:] for name in self.names if name.startswith("*.")))

    def __contains__(self, host: str) -> bool:
        return host in self.names or host.endswith(self.endings) or is_address(host)


class HostCheck:
    """Answer 421 to requests under another name, and 400 to those with no name, several, or none that is one.

    `is_for_programs` names the paths that are answered under any name, unless a browser asks: in a browser,
    any page may call this service by a name of its own choice (DNS rebinding), and read the answer.
    """

    def __init__(self, app: ASGIApp, allowed: AllowedHosts, is_for_programs: Callable[[str], bool]) -> None:
        self.app, self.allowed, self.is_for_programs = app, allowed, is_for_programs
        self._known: set[bytes] = set()  # headers that were found to be allowed
        self._logged: set[str] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return what is to be awaited; a coroutine of our own around it would slow down predictions."""
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        headers = [value for name, value in scope["headers"] if name == b"host"]
        if len(headers) == 1 and headers[0] in self._known:
            scope["is_known_host"] = True
        elif (problem := self._check(headers, scope)) is not None:
            return refuse(problem, scope, receive, send)
        return self.app(scope, receive, send)

    def _check(self, headers: list[bytes], scope: Scope) -> Problem | None:
        """Return what is wrong with a name that was not seen before; mark the scope of one that is right."""
        if len(headers) > 1:
            return malformed("It has more than one")
        if not headers:  # as probes of load balancers in HTTP/1.0
            is_probe = scope.get("http_version") == "1.0" and self._is_open(scope)
            return None if is_probe else malformed("It has none")
        host = parse_host(headers[0])
        if host is None:
            return malformed("What it has is no name")
        if host not in self.allowed:
            return self._check_unknown(host, scope)
        scope["is_known_host"] = True
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known.add(headers[0])
        return None

    def _check_unknown(self, host: str, scope: Scope) -> Problem | None:
        is_open = self._is_open(scope)
        self._log(host, "answered programs alone" if is_open else "refused")
        if is_open:
            return None
        detail = (
            f"This appliance does not go by the name {host!r}. If that is one of its names, set "
            f"SLIPWAY_HOSTS={host} (names, with commas between) and start it again."
        )
        return Problem(421, "Not a name of this appliance", detail)

    def _is_open(self, scope: Scope) -> bool:
        return scope["type"] == "http" and self.is_for_programs(scope["path"]) and not is_browser(scope)

    def _log(self, host: str, what: str) -> None:
        if host not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(host)
            logger.warning(
                "{!r} is not a name of this appliance: requests under it are {}. SLIPWAY_HOSTS adds names",
                host,
                what,
            )


def is_browser(scope: Scope) -> bool:
    """Return whether a browser sent this, for all that can be told; a program may look like one."""
    return any(
        name in OF_A_BROWSER or (name == b"accept" and b"text/html" in value.lower())
        for name, value in scope["headers"]
    )


def malformed(how: str) -> Problem:
    return Problem(400, "No name", f"A request has to have one `Host` header that names this service. {how}.")


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": problem.title})
        return
    await problem.response(Request(scope))(scope, receive, send)
