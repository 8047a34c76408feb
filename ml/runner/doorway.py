"""Package indexes on a loopback address, for foreign code: their credentials are added on the way out."""

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

from ml.runner.indexes import Index

PAGES = ("text/html", "application/vnd.pypi.simple")
LINK = re.compile(r'(<a\b[^>]*?\bhref\s*=\s*["\'])([^"\']*)', re.IGNORECASE)
ADDRESS = re.compile(r'https?://[^"\s]+\.(?:whl|zip|tgz|tar\.\w+)(?=")')  # of a file in a lock
HERE = re.compile(r'http://127\.0\.0\.1:\d+/[^"\s]+')
CHUNK = 1 << 18


class Doorway(ThreadingHTTPServer):
    """GET /<secret>/<number of the index>/<path>, and /<secret>/file/<digest of the link>/<name>."""

    daemon_threads = True

    def __init__(self, indexes: list[Index]) -> None:
        super().__init__(("127.0.0.1", 0), Visitor)
        self.indexes = indexes
        self.links: dict[str, str] = {}  # what pages of the indexes link to, by its digest
        self.unlisted: dict[str, str] = {}  # what a lock names, until it is found on such a page
        self.secret = secrets.token_urlsafe(16)
        self.port: int = self.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}/{self.secret}"
        self.client = httpx.Client(timeout=60, follow_redirects=True)

    def __enter__(self) -> "Doorway":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.client.close()
        self.server_close()

    def target(self, path: str) -> str | None:
        """The address outside that a path here stands for; None: there is no such."""
        secret, _, rest = path.lstrip("/").partition("/")
        kind, _, rest = rest.partition("/")
        if not secrets.compare_digest(secret.encode(), self.secret.encode()):
            return None
        if kind == "file":
            digest, _, name = rest.partition("/")
            link = self.links.get(digest) or self.listed(digest)
            return link + ".metadata" if link and name.endswith(".metadata") else link
        if not kind.isdigit() or int(kind) >= len(self.indexes) or ".." in unquote(rest):
            return None
        return self.indexes[int(kind)].address + rest

    def credentials(self, address: str) -> dict[str, str]:
        for index in self.indexes:
            if index.origin == urlsplit(address)[:2] and (index.user or index.password):
                login = f"{unquote(index.user)}:{unquote(index.password)}".encode()
                return {"Authorization": "Basic " + base64.b64encode(login).decode()}
        return {}

    def listed(self, digest: str) -> str | None:
        """Return what a lock names, once its index is found to list it.

        Repositories write locks: the login is for what an index offers, not for all that its server has.
        """
        address = self.unlisted.get(digest)
        if address is None:
            return None
        for index in self.indexes:
            for project in projects_of(file_name(address)) if index.origin == urlsplit(address)[:2] else ():
                page = f"{index.address}{project}/"
                headers = {"Accept": "text/html", **self.credentials(page)}
                with suppress(httpx.HTTPError):
                    answer = self.client.get(page, headers=headers)
                    self.page(str(answer.url), answer.headers.get("content-type", ""), answer.content)
                if unquote(address) in map(unquote, [*self.links.values()]):
                    self.links[digest] = address
                    return address
        return None

    def link(self, base: str, link: str) -> str:
        """The address here for a link on the page at `base`."""
        address, _, fragment = urljoin(base, link).partition("#")
        self.links[digest_of(address)] = address
        return self.place(address) + (f"#{fragment}" if fragment else "")

    def place(self, address: str) -> str:
        """The address here that stands for a file's."""
        return f"{self.address}/file/{digest_of(address)}/{file_name(address)}"

    def as_outside(self, lock: str) -> str:
        """A lock that was made here, with the addresses that the indexes have."""
        places = {self.place(address): address for address in (*self.links.values(), *self.unlisted.values())}

        def outside(found: re.Match[str]) -> str:
            return places.get(found[0]) or self.target(urlsplit(found[0]).path) or found[0]

        return HERE.sub(outside, lock)

    def as_here(self, lock: str) -> str:
        """A lock with the addresses here for what lies on the servers of the indexes."""
        origins = {index.origin for index in self.indexes}

        def here(found: re.Match[str]) -> str:
            if urlsplit(found[0])[:2] not in origins:
                return found[0]
            self.unlisted[digest_of(found[0])] = found[0]
            return self.place(found[0])

        return ADDRESS.sub(here, lock)

    def page(self, base: str, kind: str, body: bytes) -> bytes:
        """A page of an index, with its links leading here."""
        if "json" not in kind:
            text = body.decode("utf-8", "replace")
            return LINK.sub(
                lambda found: found[1] + html.escape(self.link(base, html.unescape(found[2]))), text
            ).encode()
        document: dict[str, Any] = json.loads(body)
        for file in document.get("files", []):
            file["url"] = self.link(base, file["url"])
        return json.dumps(document).encode()


def digest_of(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:32]


def file_name(address: str) -> str:
    return urlsplit(address).path.rstrip("/").rpartition("/")[2]


def projects_of(file: str) -> list[str]:
    """Return the projects, as indexes name them, that a file may be of; the likeliest first."""
    words = unquote(file).split("-")[:10]
    names = (
        words[:1] if file.endswith(".whl") else ["-".join(words[:n]) for n in range(len(words) - 1, 0, -1)]
    )
    return [quote(re.sub(r"[-_.]+", "-", name).lower(), safe="") for name in names]


class Visitor(BaseHTTPRequestHandler):
    """One request of uv's, or of what it builds."""

    server: Doorway

    def do_GET(self) -> None:
        target = self.server.target(self.path)
        if target is None:
            self.send_error(404)
            return
        passed = {name: self.headers[name] for name in ("Accept", "Range") if name in self.headers}
        headers = {"Accept-Encoding": "identity", **passed, **self.server.credentials(target)}
        try:
            with self.server.client.stream(self.command, target, headers=headers) as answer:
                self.answer(answer)
        except httpx.HTTPError as error:
            self.send_error(502, type(error).__name__)

    do_HEAD = do_GET  # noqa: N815 (the name that the base class looks for)

    def answer(self, answer: httpx.Response) -> None:
        kind = answer.headers.get("content-type", "application/octet-stream")
        page = answer.status_code == 200 and kind.startswith(PAGES) and self.command == "GET"
        body = self.server.page(str(answer.url), kind, answer.read()) if page else None
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
            for chunk in answer.iter_raw(CHUNK):
                self.wfile.write(chunk)

    def log_message(self, *_: object) -> None:
        """uv says what went wrong."""
