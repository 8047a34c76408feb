"""The host names of a service: a request under another name is refused."""

from collections.abc import Awaitable, Callable

from loguru import logger
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from common.problems import ProblemError
from common.web.host_names import AllowedHosts, parse_host

MAX_CACHED_HEADERS = 1000  # spellings of allowed names, with their ports
MAX_LOGGED = 100  # names that are logged, each once
# Headers that browsers send and a page's script cannot omit; over plain HTTP they send no `Sec-Fetch-*`
BROWSER_HEADERS = frozenset(
    (b"origin", b"accept-language", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")
)


class HostCheckMiddleware:
    """A middleware that answers 421 to other host names, and 400 to none, several, or an invalid one.

    `is_for_programs` names the paths that are answered under any name, unless a browser asks: in a browser,
    any page may call this service by a name of its own choice (DNS rebinding), and read the response.
    """

    def __init__(self, app: ASGIApp, allowed: AllowedHosts, is_for_programs: Callable[[str], bool]) -> None:
        self.app, self.allowed, self.is_for_programs = app, allowed, is_for_programs
        self._allowed_headers: set[bytes] = set()  # headers that were found to be allowed
        self._logged: set[str] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return an awaitable; a coroutine of our own around it would slow down predictions."""
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        headers = [value for name, value in scope["headers"] if name == b"host"]
        if len(headers) == 1 and headers[0] in self._allowed_headers:
            scope["is_known_host"] = True
        elif (problem := self._check(headers, scope)) is not None:
            return send_problem(problem, scope, receive, send)
        return self.app(scope, receive, send)

    def _check(self, headers: list[bytes], scope: Scope) -> ProblemError | None:
        """Return the problem with an unseen name, or mark the scope of an allowed one."""
        if len(headers) > 1:
            return bad_host_problem("It has more than one")
        if not headers:  # sent by probes of load balancers in HTTP/1.0
            is_probe = scope.get("http_version") == "1.0" and self._is_open(scope)
            return None if is_probe else bad_host_problem("It has none")
        host = parse_host(headers[0])
        if host is None:
            return bad_host_problem("Its value is no host name")
        if host not in self.allowed:
            return self._check_unlisted(host, scope)
        scope["is_known_host"] = True
        if len(self._allowed_headers) >= MAX_CACHED_HEADERS:
            self._allowed_headers.clear()
        self._allowed_headers.add(headers[0])
        return None

    def _check_unlisted(self, host: str, scope: Scope) -> ProblemError | None:
        is_open = self._is_open(scope)
        self._log_host(host, "answered programs alone" if is_open else "refused")
        if is_open:
            return None
        detail = (
            f"{host!r} is not a name of this appliance. If it should be one, set "
            f"SLIPWAY_HOSTS={host} (names, with commas between) and start it again."
        )
        return ProblemError(421, "Not a name of this appliance", detail)

    def _is_open(self, scope: Scope) -> bool:
        return scope["type"] == "http" and self.is_for_programs(scope["path"]) and not is_browser(scope)

    def _log_host(self, host: str, what: str) -> None:
        if host not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(host)
            logger.warning(
                "{!r} is not a name of this appliance: requests under it are {}. SLIPWAY_HOSTS adds names",
                host,
                what,
            )


def is_browser(scope: Scope) -> bool:
    """Return whether a browser sent this, as far as headers show; a program may look like one."""
    return any(
        name in BROWSER_HEADERS or (name == b"accept" and b"text/html" in value.lower())
        for name, value in scope["headers"]
    )


def bad_host_problem(how: str) -> ProblemError:
    return ProblemError(
        400, "No name", f"A request has to have one `Host` header that names this service. {how}."
    )


async def send_problem(problem: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": problem.title})
        return
    await problem.to_response(Request(scope))(scope, receive, send)
