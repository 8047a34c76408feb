"""The only network access of uv, and of what it builds: a proxy that connects to public addresses alone.

Such a process can connect to no other address. The proxy resolves a name once, checks all its addresses, and
connects to one of these: the address that was checked is the one that is connected to.
"""

import base64
import secrets
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from common.allowed_addresses import resolve_host
from ml.environments.egress_connection import (
    IDLE_SECONDS,
    AddressError,
    check_public,
    connect_through,
    connect_to_one,
    relay_bytes,
    send_close_header,
)

PUBLIC_PORTS = (80, 443)
MAX_REFUSED = 20
MAX_CONNECTIONS = 256  # at once: uv opens 50, and each takes a thread of ours

HostPort = tuple[str, int]  # a host in lower case, and a port


class EgressProxy(ThreadingHTTPServer):
    """A proxy for CONNECT and plain GET on a loopback port.

    `refused` lists the addresses that it did not connect to, with the reason.

    `trusted` are the origins that the operator names, private ones included. `upstream` are the operator's
    own proxies by scheme, as the variables http_proxy and https_proxy name them.
    """

    daemon_threads = True

    def __init__(self, trusted: Iterable[HostPort], upstream: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), ProxyRequestHandler)
        self.trusted, self.upstream = frozenset(trusted), upstream or {}
        self.refused: list[str] = []
        self.free_slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.secret = secrets.token_urlsafe(16)
        self.port: int = self.server_address[1]
        self.address = f"http://slipway:{self.secret}@127.0.0.1:{self.port}"

    def __enter__(self) -> "EgressProxy":
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection; close it where there are too many."""
        if self.free_slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free_slots.release()

    def handle_error(self, *_: object) -> None:
        """Print nothing: a client that disconnects is no error."""

    @property
    def proxy_env(self) -> dict[str, str]:
        """The environment variables that make a program use the proxy, git and pip included."""
        names = ("http_proxy", "https_proxy", "all_proxy")
        through = {name: self.address for each in names for name in (each, each.upper())}
        return through | {"NO_PROXY": "", "no_proxy": ""}

    def is_authorized(self, header: str | None) -> bool:
        expected = "Basic " + base64.b64encode(f"slipway:{self.secret}".encode()).decode()
        return secrets.compare_digest((header or "").encode(), expected.encode())

    def open_connection(self, host: str, port: int, scheme: str) -> socket.socket:
        """Return a connection to the host, or to the operator's proxy for it.

        Raises AddressError where a connection is not allowed, OSError where it fails.
        """
        host = host.lower().rstrip(".")
        if (host, port) in self.trusted:
            addresses = resolve_host(host, port)
        else:
            if port not in PUBLIC_PORTS:
                raise AddressError(
                    f"{host}:{port}: only ports {PUBLIC_PORTS[0]} and {PUBLIC_PORTS[1]} are open to packages"
                )
            try:
                addresses = resolve_host(host, port)
            except OSError:
                if not self.upstream.get(scheme):
                    raise
                addresses = []  # a machine that needs a proxy often resolves nothing
            check_public(host, addresses)
        if through := self.upstream.get(scheme):
            return connect_through(through, host, port)
        return connect_to_one(host, port, addresses, is_trusted=(host, port) in self.trusted)

    def record_refusal(self, reason: str) -> None:
        if len(self.refused) < MAX_REFUSED and reason not in self.refused:
            self.refused.append(reason)


class ProxyRequestHandler(BaseHTTPRequestHandler):
    """A connection of uv, of git, or of a build: one request each."""

    server: EgressProxy
    timeout = IDLE_SECONDS
    rbufsize = 0  # bytes after the request are not ours to read

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        self.forward_request(host.strip("[]"), int(port) if port.isdecimal() else 0, "https", b"")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.scheme != "http" or not url.hostname:
            self.send_error(400)
            return
        head = [f"{self.command} {url.path or '/'}{'?' + url.query if url.query else ''} HTTP/1.1"]
        left_out = {"proxy-authorization", "proxy-connection", "connection", "keep-alive"}
        head += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() not in left_out]
        body = "\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1")
        self.forward_request(url.hostname, url.port or 80, "http", body)

    do_HEAD = do_POST = do_GET  # noqa: N815 (the names that the base class looks for)

    def forward_request(self, host: str, port: int, scheme: str, head: bytes) -> None:
        """Connect, and relay bytes in both directions until one side ends."""
        self.close_connection = True
        if not self.server.is_authorized(self.headers.get("Proxy-Authorization")):
            self.require_login()
            return
        try:
            upstream = self.server.open_connection(host, port, scheme)
        except AddressError as error:
            self.server.record_refusal(str(error))
            self.send_error(403, "not for packages")
            return
        except (OSError, UnicodeError, ValueError):
            self.send_error(502, "cannot be reached")
            return
        with upstream, suppress(OSError):
            if head:
                upstream.sendall(head)
                send_close_header(self.connection, upstream)
            else:
                self.send_response_only(200, "connected")
                self.end_headers()
            relay_bytes(self.connection, upstream)

    def require_login(self) -> None:
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="slipway"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing: uv reports failures, and `refused` has what was not allowed."""
