"""The way of uv, and of what it builds, to the internet: a proxy that connects to public addresses alone.

It is the only address that such a process can connect to. The proxy resolves a name once, checks all that it
means, and connects to one of these addresses: what was looked at is what is connected to.
"""

import base64
import secrets
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from select import select
from urllib.parse import unquote, urlsplit

from ml.fetch.allowed import parse, public, resolve

PORTS = (80, 443)
CONNECT_SECONDS, IDLE_SECONDS = 30, 300
CHUNK_BYTES = 1 << 16
MAX_REFUSED = 20

Origin = tuple[str, int]  # a host in lower case, and a port


class AddressError(Exception):
    """An address that packages may not come from; the text says why."""


class EgressProxy(ThreadingHTTPServer):
    """Serves CONNECT and plain GET on a loopback port; `refused` has what it did not connect to, and why.

    `trusted` are the origins that the operator names, private ones included. `upstream` are the operator's
    own proxies by scheme, as the variables http_proxy and https_proxy name them.
    """

    daemon_threads = True

    def __init__(self, trusted: Iterable[Origin], upstream: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), ProxyRequestHandler)
        self.trusted, self.upstream = frozenset(trusted), upstream or {}
        self.refused: list[str] = []
        self.secret = secrets.token_urlsafe(16)
        self.port: int = self.server_address[1]
        self.address = f"http://slipway:{self.secret}@127.0.0.1:{self.port}"

    def __enter__(self) -> "EgressProxy":
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Print nothing: a client that goes away is no error."""

    @property
    def variables(self) -> dict[str, str]:
        """What makes a program use it, git and pip included."""
        names = ("http_proxy", "https_proxy", "all_proxy")
        through = {name: self.address for each in names for name in (each, each.upper())}
        return through | {"NO_PROXY": "", "no_proxy": ""}

    def is_authorized(self, header: str | None) -> bool:
        expected = "Basic " + base64.b64encode(f"slipway:{self.secret}".encode()).decode()
        return secrets.compare_digest((header or "").encode(), expected.encode())

    def connect(self, host: str, port: int, scheme: str) -> socket.socket:
        """Return a connection to the host, or to the operator's proxy for it.

        Raises AddressError where it may not be connected to, OSError where it cannot be.
        """
        host = host.lower().rstrip(".")
        if (host, port) in self.trusted:
            addresses = resolve(host, port)
        else:
            if port not in PORTS:
                raise AddressError(
                    f"{host}:{port}: only ports {PORTS[0]} and {PORTS[1]} are open to packages"
                )
            try:
                addresses = resolve(host, port)
            except OSError:
                if not self.upstream.get(scheme):
                    raise
                addresses = []  # a machine that needs a proxy often resolves nothing
            check_public(host, addresses)
        if through := self.upstream.get(scheme):
            return connect_through(through, host, port)
        return connect_to_one(host, port, addresses, is_trusted=(host, port) in self.trusted)

    def refuse(self, why: str) -> None:
        if len(self.refused) < MAX_REFUSED and why not in self.refused:
            self.refused.append(why)


class ProxyRequestHandler(BaseHTTPRequestHandler):
    """One connection of uv's, of git's, or of what is built: one request each."""

    server: EgressProxy
    timeout = IDLE_SECONDS
    rbufsize = 0  # what comes after the request is not ours to read

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        self.forward(host.strip("[]"), int(port) if port.isdecimal() else 0, "https", b"")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.scheme != "http" or not url.hostname:
            self.send_error(400)
            return
        head = [f"{self.command} {url.path or '/'}{'?' + url.query if url.query else ''} HTTP/1.1"]
        left_out = {"proxy-authorization", "proxy-connection", "connection", "keep-alive"}
        head += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() not in left_out]
        body = "\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1")
        self.forward(url.hostname, url.port or 80, "http", body)

    do_HEAD = do_POST = do_GET  # noqa: N815 (the names that the base class looks for)

    def forward(self, host: str, port: int, scheme: str, head: bytes) -> None:
        """Connect, and pass bytes on both ways until one side ends."""
        self.close_connection = True
        if not self.server.is_authorized(self.headers.get("Proxy-Authorization")):
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="slipway"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        try:
            there = self.server.connect(host, port, scheme)
        except AddressError as error:
            self.server.refuse(str(error))
            self.send_error(403, "not for packages")
            return
        except (OSError, UnicodeError, ValueError):
            self.send_error(502, "cannot be reached")
            return
        with there, suppress(OSError):
            if head:
                there.sendall(head)
            else:
                self.send_response_only(200, "connected")
                self.end_headers()
            relay(self.connection, there)

    def log_message(self, *_: object) -> None:
        """uv says what went wrong, `refused` what was not allowed."""


def check_public(host: str, addresses: list[str]) -> None:
    """Raise AddressError where one of the addresses is of this machine, its network, or its metadata."""
    for address in addresses:
        if not public(parse(address)):
            named = host if host == address else f"{host} ({address})"
            raise AddressError(f"{named}, which is not on the internet")


def connect_to_one(host: str, port: int, addresses: list[str], *, is_trusted: bool) -> socket.socket:
    failure: OSError = OSError(f"{host} has no address")
    for address in addresses:
        try:
            made = socket.create_connection((address, port), CONNECT_SECONDS)
        except OSError as error:
            failure = error
            continue
        if not is_trusted and made.getpeername()[0] == made.getsockname()[0]:
            made.close()
            raise AddressError(f"{host} ({address}), which is this machine")
        return made
    raise failure


def connect_through(proxy: str, host: str, port: int) -> socket.socket:
    """Return a tunnel to the host by the operator's proxy."""
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    made = socket.create_connection((url.hostname or "", url.port or 80), CONNECT_SECONDS)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if url.username:
        login = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(login).decode())
    try:
        made.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < CHUNK_BYTES:
            if not (piece := made.recv(1)):  # not a byte of what comes after it
                break
            answer += piece
        if answer.split(b" ")[1:2] != [b"200"]:
            raise OSError(f"the proxy {url.hostname} does not connect to {target}")
    except OSError:
        made.close()
        raise
    return made


def relay(here: socket.socket, there: socket.socket) -> None:
    """Pass on what comes on either side, until one side ends."""
    while True:
        ready, _, _ = select([here, there], [], [], IDLE_SECONDS)
        if not ready:
            return
        for source in ready:
            piece = source.recv(CHUNK_BYTES)
            if not piece:
                return
            (there if source is here else here).sendall(piece)
