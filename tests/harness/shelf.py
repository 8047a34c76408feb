"""A real HTTP server of files, with every fault that real ones have."""

import base64
import hashlib
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PIECE = 64 << 10


@dataclass
class Item:
    """The content of one path, and the behaviour with which it is served."""

    content: bytes = b""
    etag: bool = True
    modified: str | None = "Mon, 05 Jan 2026 10:00:00 GMT"
    ranges: bool = True
    head: int = 200  # the status of HEAD
    status: int = 200
    login: str = ""  # user:password, without which it is 401
    location: str | None = None  # a redirect
    length: int | None = None  # a false Content-Length; -1: none is sent
    cuts: list[int] = field(default_factory=list)  # bytes after which one answer each breaks off
    early: int = 0  # bytes before the requested start at which a range begins
    pause: float = 0  # seconds after each piece
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]  # by lower-case names


class Shelf:
    """The files of a server, in `items`, and its requests, in `asked`."""

    def __init__(self, port: int) -> None:
        self.items: dict[str, Item] = {}
        self.asked: list[Asked] = []
        self.port = port

    def url(self, path: str = "/data.csv", host: str = "127.0.0.1", user: str = "") -> str:
        return f"http://{user}{host}:{self.port}{path}"

    def put(self, content: bytes, path: str = "/data.csv") -> Item:
        self.items[path] = Item(content)
        return self.items[path]

    def methods(self) -> list[str]:
        """Return the methods of the requests since the last call."""
        found = [asked.method for asked in self.asked]
        self.asked.clear()
        return found


@contextmanager
def serving(host: str = "127.0.0.1", certificate: Path | None = None) -> Iterator[Shelf]:
    """Serve files over HTTP, or over HTTPS with a certificate and its key in one file."""
    server = ThreadingHTTPServer((host, 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.shelf = shelf = Shelf(server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    yield shelf
    server.shutdown()
    server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        shelf: Shelf = self.server.shelf  # type: ignore[attr-defined]
        headers = {name.lower(): value for name, value in self.headers.items()}
        shelf.asked.append(Asked(self.command, self.path, headers))
        item = shelf.items.get(self.path, Item(status=404))
        status = item.head if self.command == "HEAD" and item.head != 200 else item.status
        given = "Basic " + base64.b64encode(item.login.encode()).decode()
        if item.login and headers.get("authorization") != given:
            status = 401
        if status != 200:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", "Basic")
            if item.location:
                self.send_header("Location", item.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            self.hand_out(item, headers)

    def hand_out(self, item: Item, headers: dict[str, str]) -> None:
        etag = '"' + hashlib.sha256(item.content).hexdigest()[:16] + '"'
        bounds = self.bounds(item, headers, etag)
        start, end = bounds or (0, len(item.content) - 1)
        body = item.content[start : end + 1]
        self.send_response(206 if bounds else 200)
        if bounds:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(item.content)}")
        if item.etag:
            self.send_header("ETag", etag)
        if item.modified:
            self.send_header("Last-Modified", item.modified)
        for name, value in item.headers.items():
            self.send_header(name, value)
        if item.length != -1:
            self.send_header("Content-Length", str(len(body) if item.length is None else item.length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "GET":
            self.send(body, item)

    def bounds(self, item: Item, headers: dict[str, str], etag: str) -> tuple[int, int] | None:
        """Return the first and last byte of the requested range; None where the whole file is sent."""
        wanted = headers.get("range")
        if not wanted or not item.ranges or headers.get("if-range", etag) not in (etag, item.modified):
            return None
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        end = len(item.content) - 1
        if not first:
            return max(0, end + 1 - int(last)), end
        return max(0, int(first) - item.early), min(int(last), end) if last else end

    def send(self, body: bytes, item: Item) -> None:
        until = item.cuts.pop(0) if item.cuts else None
        for at in range(0, len(body[:until]), PIECE):
            self.wfile.write(body[:until][at : at + PIECE])
            if item.pause:
                time.sleep(item.pause)
        if until is not None or item.length not in (None, -1):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing: `asked` has the requests."""
