"""The proxy of package indexes for untrusted code, on a loopback address: it adds the credentials."""

import base64
import hashlib
import html
import json
import re
import secrets
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx

from ml.environments.indexes import Index

PAGE_TYPES = ("text/html", "application/vnd.pypi.simple")
LINK_PATTERN = re.compile(r'(<a\b[^>]*?\bhref\s*=\s*["\'])([^"\']*)', re.IGNORECASE)
FILE_PATTERN = re.compile(r'https?://[^"\s]+\.(?:whl|zip|tgz|tar\.\w+)(?=")')  # a file in a lock
PROXY_PATTERN = re.compile(r'http://127\.0\.0\.1:\d+/[^"\s]+')
CHUNK_BYTES = 1 << 18
MAX_PAGE_BYTES = 64 << 20  # of an index's page about one project


class IndexProxy(ThreadingHTTPServer):
    """The server of GET /<secret>/<index number>/<path> and /<secret>/file/<digest of the link>/<name>."""

    daemon_threads = True

    def __init__(self, indexes: list[Index]) -> None:
        super().__init__(("127.0.0.1", 0), IndexRequestHandler)
        self.indexes = indexes
        self.links: dict[str, str] = {}  # links on pages of the indexes, by digest
        self.unlisted: dict[str, str] = {}  # files that a lock names, until one is found on such a page
        self.secret = secrets.token_urlsafe(16)
        self.port: int = self.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}/{self.secret}"
        self.client = httpx.Client(timeout=60, follow_redirects=True)

    def __enter__(self) -> "IndexProxy":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.client.close()
        self.server_close()

    def resolve_target(self, path: str) -> str | None:
        """Return the external address that a path here stands for; None when there is none."""
        secret, _, rest = path.lstrip("/").partition("/")
        kind, _, rest = rest.partition("/")
        if not secrets.compare_digest(secret.encode(), self.secret.encode()):
            return None
        if kind == "file":
            digest, _, name = rest.partition("/")
            link = self.links.get(digest) or self.find_listed(digest)
            return link + ".metadata" if link and name.endswith(".metadata") else link
        if not kind.isdigit() or int(kind) >= len(self.indexes) or ".." in unquote(rest):
            return None
        return self.indexes[int(kind)].address + rest

    def auth_headers(self, address: str) -> dict[str, str]:
        for index in self.indexes:
            if index.origin == urlsplit(address)[:2] and (index.user or index.password):
                login = f"{unquote(index.user)}:{unquote(index.password)}".encode()
                return {"Authorization": "Basic " + base64.b64encode(login).decode()}
        return {}

    def find_listed(self, digest: str) -> str | None:
        """Return the file that a lock names, once its index is found to list it.

        Repositories write locks: the login is for what an index offers, not for all that its server has.
        """
        address = self.unlisted.get(digest)
        if address is None:
            return None
        for index in self.indexes:
            for project in (
                guess_projects(parse_file_name(address)) if index.origin == urlsplit(address)[:2] else ()
            ):
                page = f"{index.address}{project}/"
                headers = {"Accept": "text/html", **self.auth_headers(page)}
                with suppress(httpx.HTTPError), self.client.stream("GET", page, headers=headers) as answer:
                    kind = answer.headers.get("content-type", "")
                    self.rewrite_page(str(answer.url), kind, read_page(answer))
                if unquote(address) in map(unquote, [*self.links.values()]):
                    self.links[digest] = address
                    return address
        return None

    def rewrite_link(self, base: str, link: str) -> str:
        """Return the address here for a link on the page at `base`."""
        address, _, fragment = urljoin(base, link).partition("#")
        self.links[hash_address(address)] = address
        return self.to_proxy_url(address) + (f"#{fragment}" if fragment else "")

    def to_proxy_url(self, address: str) -> str:
        """Return the address here that stands for a file's."""
        return f"{self.address}/file/{hash_address(address)}/{parse_file_name(address)}"

    def to_public_lock(self, lock: str) -> str:
        """Return a lock that was made here, with the real addresses of the indexes."""
        public_urls = {
            self.to_proxy_url(address): address for address in (*self.links.values(), *self.unlisted.values())
        }

        def outside(found: re.Match[str]) -> str:
            return public_urls.get(found[0]) or self.resolve_target(urlsplit(found[0]).path) or found[0]

        return PROXY_PATTERN.sub(outside, lock)

    def to_proxied_lock(self, lock: str) -> str:
        """Return a lock with the addresses here for files on the servers of the indexes."""
        origins = {index.origin for index in self.indexes}

        def here(found: re.Match[str]) -> str:
            if urlsplit(found[0])[:2] not in origins:
                return found[0]
            self.unlisted[hash_address(found[0])] = found[0]
            return self.to_proxy_url(found[0])

        return FILE_PATTERN.sub(here, lock)

    def rewrite_page(self, base: str, kind: str, body: bytes) -> bytes:
        """Return a page of an index, with its links rewritten to lead here."""
        if "json" not in kind:
            text = body.decode("utf-8", "replace")
            return LINK_PATTERN.sub(
                lambda found: found[1] + html.escape(self.rewrite_link(base, html.unescape(found[2]))), text
            ).encode()
        document: dict[str, Any] = json.loads(body)
        for file in document.get("files", []):
            file["url"] = self.rewrite_link(base, file["url"])
        return json.dumps(document).encode()


def hash_address(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:32]


def parse_file_name(address: str) -> str:
    return urlsplit(address).path.rstrip("/").rpartition("/")[2]


def read_page(answer: httpx.Response) -> bytes:
    """Return a response's body; raises `httpx.HTTPError` for one that is too long."""
    content = bytearray()
    for chunk in answer.iter_bytes(CHUNK_BYTES):
        content += chunk
        if len(content) > MAX_PAGE_BYTES:
            raise httpx.ReadError(f"a page of more than {MAX_PAGE_BYTES >> 20} MiB")
    return bytes(content)


def guess_projects(file: str) -> list[str]:
    """Return the projects, as indexes name them, that a file may belong to; the likeliest first."""
    words = unquote(file).split("-")[:10]
    names = (
        words[:1] if file.endswith(".whl") else ["-".join(words[:n]) for n in range(len(words) - 1, 0, -1)]
    )
    return [quote(re.sub(r"[-_.]+", "-", name).lower(), safe="") for name in names]


class IndexRequestHandler(BaseHTTPRequestHandler):
    """A request of uv, or of a build."""

    server: IndexProxy

    def do_GET(self) -> None:
        target = self.server.resolve_target(self.path)
        if target is None:
            self.send_error(404)
            return
        forwarded = {name: self.headers[name] for name in ("Accept", "Range") if name in self.headers}
        headers = {"Accept-Encoding": "identity", **forwarded, **self.server.auth_headers(target)}
        try:
            with self.server.client.stream(self.command, target, headers=headers) as answer:
                self.send_reply(answer)
        except httpx.HTTPError as error:
            self.send_error(502, type(error).__name__)

    do_HEAD = do_GET  # noqa: N815 (the name that the base class looks for)

    def send_reply(self, answer: httpx.Response) -> None:
        kind = answer.headers.get("content-type", "application/octet-stream")
        page = answer.status_code == 200 and kind.startswith(PAGE_TYPES) and self.command == "GET"
        body = self.server.rewrite_page(str(answer.url), kind, read_page(answer)) if page else None
        self.send_response(answer.status_code)
        self.send_header("Content-Type", kind)
        for name in ("Content-Range", "Accept-Ranges", "ETag"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        length = len(body) if body is not None else answer.headers.get("content-length")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if body is not None:
            self.wfile.write(body)
        elif self.command == "GET":
            for chunk in answer.iter_raw(CHUNK_BYTES):
                self.wfile.write(chunk)

    def log_message(self, *_: object) -> None:
        """Log nothing: uv reports failures."""
