"""Connections to allowed addresses, and to no other, whatever a name resolves to; proxies of this machine."""

import base64
import ssl
from collections.abc import Iterable
from functools import cache
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx
from httpcore import SOCKET_OPTION

from common.allowed_addresses import AddressPolicy, parse_address, resolve_host


class RefusedAddressError(Exception):
    """A host that may not be called; `reason` is a clause about it."""

    def __init__(self, host: str, reason: str, *, can_be_allowed: bool = True) -> None:
        self.host, self.reason, self.can_be_allowed = host, reason, can_be_allowed
        super().__init__(f"{host} {reason}")


class GuardedBackend(httpcore.NetworkBackend):
    """A network backend that resolves a name once, checks all addresses, and connects to one of these only.

    Code that checks a name and lets another library connect to it resolves it twice, and may get two answers.
    """

    def __init__(self, allowed: AddressPolicy, backend: httpcore.NetworkBackend | None = None) -> None:
        self.allowed, self.backend = allowed, backend or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("it has no address")
        for address in self.resolve_allowed(host, port):
            try:
                stream = self.backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return self.check_not_local(host, address, stream)
        raise failure

    def resolve_allowed(self, host: str, port: int) -> list[str]:
        """Return all addresses of a host; one that is not allowed makes the host refused."""
        try:
            addresses = resolve_host(host, port)
        except UnicodeError as error:
            raise RefusedAddressError(host, "is not the name of a host", can_be_allowed=False) from error
        except OSError as error:
            raise httpcore.ConnectError(f"it cannot be resolved: {error.strerror}") from error
        for address in addresses:
            if not self.allowed.is_allowed(host, parse_address(address)):
                raise to_refused_error(host, address, "is not on the internet")
        return addresses

    def check_not_local(
        self, host: str, address: str, stream: httpcore.NetworkStream
    ) -> httpcore.NetworkStream:
        """Return the stream, unless it ends on this very machine by one of its public addresses."""
        own_address, peer_address = (
            stream.get_extra_info("client_addr")[0],
            stream.get_extra_info("server_addr")[0],
        )
        if own_address == peer_address and not self.allowed.is_named(host, parse_address(address)):
            stream.close()
            raise to_refused_error(host, address, "is this machine")
        return stream


def to_refused_error(host: str, address: str, reason: str) -> RefusedAddressError:
    return RefusedAddressError(host if host == address else f"{host} ({address})", reason)


def open_pool(
    url: httpx.URL, guard: GuardedBackend, proxy_backend: httpcore.NetworkBackend | None = None
) -> httpcore.ConnectionPool:
    """Connect directly to the host, or through the proxy that this machine is configured to use.

    Raises `httpcore.ProxyError` where that has no address of http.
    """
    proxy = getproxies().get(url.scheme) or getproxies().get("all")
    if not proxy or proxy_bypass(url.host) or url.host in ("localhost", "127.0.0.1", "::1"):
        return httpcore.ConnectionPool(ssl_context=create_ssl_context(), network_backend=guard)
    check_host(url, guard)
    upstream = parse_proxy(proxy)
    return httpcore.HTTPProxy(
        proxy_url=httpcore.URL(
            scheme=upstream.url.raw_scheme,
            host=upstream.url.raw_host,
            port=upstream.url.port,
            target=b"/",
        ),
        proxy_auth=upstream.raw_auth,
        ssl_context=create_ssl_context(),
        network_backend=proxy_backend,
    )


def parse_proxy(address: str) -> httpx.Proxy:
    """Return the proxy at an address, which may be a secret; raises `httpcore.ProxyError` for other text."""
    try:
        return httpx.Proxy(address)
    except (httpx.InvalidURL, ValueError):
        raise httpcore.ProxyError("the proxy of this machine has no address of http") from None


def check_host(url: httpx.URL, guard: GuardedBackend) -> None:
    """Refuse a host by its addresses here, although a proxy's resolver decides in the end."""
    try:
        guard.resolve_allowed(url.host, url.port or 0)
    except httpcore.ConnectError:
        return  # a machine that needs a proxy often resolves nothing


def basic_auth(url: httpx.URL) -> str:
    """Return the header `Authorization` for the login in an address."""
    user, _, password = url.userinfo.partition(b":")
    pair = f"{unquote(user.decode())}:{unquote(password.decode())}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


@cache
def create_ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()
