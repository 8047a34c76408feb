"""The package indexes that the operator names, and their credentials, which foreign code never sees."""

import base64
import hashlib
import html
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import httpx

# the variables that name indexes, the default one first: those of uv, else those of pip
DEFAULT = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
MORE = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
NETWORK = re.compile(
    r"^(UV_(SYSTEM_CERTS|NATIVE_TLS|HTTP_TIMEOUT|HTTP_RETRIES|OFFLINE|INDEX_STRATEGY|PYTHON_DOWNLOADS|"
    r"PYTHON_INSTALL_MIRROR|FIND_LINKS|EXCLUDE_NEWER)|PIP_CERT|(https?|all|no)_proxy)$",
    re.IGNORECASE,
)
SECRET = re.compile(r"(?<=://)[^/@\s]+@")  # user:password in an address
PAGES = ("text/html", "application/vnd.pypi.simple")
LINK = re.compile(r'(<a\b[^>]*?\bhref\s*=\s*["\'])([^"\']*)', re.IGNORECASE)
CHUNK = 1 << 18


@dataclass(frozen=True)
class Index:
    address: str  # with a slash at its end, without credentials
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def origin(self) -> tuple[str, str]:
        return urlsplit(self.address)[:2]

    @property
    def open(self) -> str:
        """The address with the credentials in it, for uv while it runs no foreign code."""
        if not self.user and not self.password:
            return self.address
        parts = urlsplit(self.address)
        return urlunsplit(parts._replace(netloc=f"{self.user}:{self.password}@{parts.netloc}"))


def named(variables: tuple[str, ...]) -> list[Index]:
    return [index(text) for name in variables for text in os.environ.get(name, "").split()]


def index(text: str) -> Index:
    """Of `[name=]https://[user:password@]host/path`; uv has credentials also as UV_INDEX_<NAME>_PASSWORD."""
    name, _, address = text.rpartition("=") if re.match(r"[\w.-]+=", text) else ("", "", text)
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    variable = re.sub(r"[^A-Z0-9]", "_", name.upper())
    if name:
        user = user or os.environ.get(f"UV_INDEX_{variable}_USERNAME", "")
        password = password or os.environ.get(f"UV_INDEX_{variable}_PASSWORD", "")
    return Index(urlunsplit(parts._replace(netloc=host, path=parts.path.rstrip("/") + "/")), user, password)


def passed_on() -> dict[str, str]:
    """The environment's part for uv while it runs no foreign code.

    Credentials stand in addresses alone, never under an index's name: a repository could give that name to
    a server of its own.
    """
    return network() | variables([i.open for i in named(DEFAULT)[:1]], [i.open for i in named(MORE)])


def variables(default: list[str], more: list[str]) -> dict[str, str]:
    found = {"UV_DEFAULT_INDEX": default[0]} if default else {}
    return found | ({"UV_INDEX": " ".join(more)} if more else {})


def network() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if NETWORK.match(name)}


def folders() -> list[Path]:
    """Where wheels lie on this machine."""
    found = [Path(text.removeprefix("file://")) for text in os.environ.get("UV_FIND_LINKS", "").split(",")]
    return [path for path in found if path.is_absolute() and path.exists()]


def mask(text: str) -> str:
    """Without passwords, in addresses or bare."""
    for index in (*named(DEFAULT), *named(MORE)):
        for password in {index.password, unquote(index.password)} - {""}:
            text = text.replace(password, "***")
    return SECRET.sub("***@", text)


@contextmanager
def without_credentials() -> Iterator[tuple[dict[str, str], list[int]]]:
    """The environment's part for uv while it runs foreign code, and the ports that it needs for that.

    The indexes are then here, on a loopback address with an unguessable path, and credentials are added on
    the way out. Only pages of the indexes and what these link to can be had.
    """
    default, more = named(DEFAULT)[:1], named(MORE)
    proxies = {name: SECRET.sub("", value) for name, value in network().items()}
    ports = [port for name, value in proxies.items() if (port := port_of(name, value))]
    if not default and not more:
        yield proxies, ports
        return
    with Doorway([*default, *more]) as doorway:
        addresses = [f"{doorway.address}/{number}/" for number in range(len(doorway.indexes))]
        here = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        own = variables(addresses[: len(default)], addresses[len(default) :])
        yield proxies | here | own, [*ports, doorway.port]


def port_of(name: str, value: str) -> int | None:
    return urlsplit(value).port if name.lower() in ("http_proxy", "https_proxy", "all_proxy") else None


class Doorway(ThreadingHTTPServer):
    """GET /<secret>/<number of the index>/<path>, and /<secret>/file/<digest of the link>/<name>."""

    daemon_threads = True

    def __init__(self, indexes: list[Index]) -> None:
        super().__init__(("127.0.0.1", 0), Visitor)
        self.indexes = indexes
        self.links: dict[str, str] = {}
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
            link = self.links.get(digest)
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

    def link(self, base: str, link: str) -> str:
        """The address here for a link on the page at `base`."""
        address, _, fragment = urljoin(base, link).partition("#")
        digest = hashlib.sha256(address.encode()).hexdigest()[:32]
        self.links[digest] = address
        name = urlsplit(address).path.rstrip("/").rpartition("/")[2]
        return f"{self.address}/file/{digest}/{name}" + (f"#{fragment}" if fragment else "")

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
