"""A file behind http or https. Our own requests: fsspec's read whole answers, and go on with any."""

import base64
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from ml.errors import Rejected
from ml.fetch.allowed import Allowed
from ml.fetch.guard import Guard
from ml.fetch.origin import Broken, Changed, Content, Version, shown

REDIRECTS = 10
PATIENCE = 30  # seconds for a connection, and between two pieces of an answer
LATER = {408, 425, 429}  # the client's fault by number, the world's by meaning
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # by lower-case names
    chunks: Iterator[bytes]


class Http:
    """Follows redirects itself, so that each address on the way is checked like the first."""

    def __init__(self, address: str, allowed: Allowed) -> None:
        self.address, self.guard = address, Guard(allowed)

    def look(self) -> Version:
        with self.ask("HEAD", {}) as answer:
            if answer.status < HTTPStatus.BAD_REQUEST:
                return version_of(answer)
        # It may know GET alone: an address that was signed for it, or a small server.
        with self.ask("GET", {"Range": "bytes=0-0"}) as answer:
            self.judge(answer)
            return version_of(answer)

    @contextmanager
    def read(self, start: int, version: Version) -> Iterator[Content]:
        validator = strong(version)
        resume = {"Range": f"bytes={start}-", "If-Range": validator} if start and validator else {}
        with self.ask("GET", resume) as answer:
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise Changed
            self.judge(answer)
            now = version_of(answer)
            if answer.status == HTTPStatus.PARTIAL_CONTENT:
                begin = first_byte(answer)  # it may begin before what was asked for
                if begin > start or not now.agrees(version):
                    raise Changed
                yield Content(version, begin, answer.chunks)
            else:
                yield Content(now, 0, answer.chunks)

    @contextmanager
    def ask(self, method: str, headers: dict[str, str]) -> Iterator[Answer]:
        """The answer that the redirects lead to."""
        url = parsed(self.address)
        headers = {"Accept-Encoding": "identity", "Accept": "*/*", "User-Agent": "slipway", **headers}
        if url.userinfo:
            headers["Authorization"] = basic(url)
        for _ in range(REDIRECTS + 1):
            with self.one(method, url, headers) as answer:
                if answer.status not in (301, 302, 303, 307, 308) or "location" not in answer.headers:
                    yield answer
                    return
                following = parsed(answer.headers["location"], url)
            if (following.scheme, following.host, following.port) != (url.scheme, url.host, url.port):
                headers.pop("Authorization", None)
            url = following
        raise Rejected(f"{shown(self.address)} leads from one address to the next without an end")

    @contextmanager
    def one(self, method: str, url: httpx.URL, headers: dict[str, str]) -> Iterator[Answer]:
        """One request to one address."""
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        host = url.netloc.decode("ascii")
        try:
            with (
                self.pool(url) as pool,
                pool.stream(
                    method,
                    target,
                    headers=[(name, value) for name, value in {"Host": host, **headers}.items()],
                    extensions={
                        "timeout": dict.fromkeys(("connect", "read", "write", "pool"), float(PATIENCE))
                    },
                ) as response,
            ):
                names = {key.decode("latin-1").lower(): value for key, value in response.headers}
                said = {name: value.decode("latin-1") for name, value in names.items()}
                yield Answer(response.status, said, response.iter_stream())
        except httpcore.TimeoutException as error:
            raise Broken(f"{host} did not answer within {PATIENCE} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise Broken(f"{host}: {error}") from error

    def pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        """Straight to the host, or by the proxy that this machine is set up to use."""
        proxy = getproxies().get(url.scheme) or getproxies().get("all")
        if not proxy or proxy_bypass(url.host) or url.host in ("localhost", "127.0.0.1", "::1"):
            return httpcore.ConnectionPool(ssl_context=trust(), network_backend=self.guard)
        self.look_up(url)
        through = httpx.Proxy(proxy)
        return httpcore.HTTPProxy(
            proxy_url=httpcore.URL(
                scheme=through.url.raw_scheme, host=through.url.raw_host, port=through.url.port, target=b"/"
            ),
            proxy_auth=through.raw_auth,
            ssl_context=trust(),
        )

    def look_up(self, url: httpx.URL) -> None:
        """Behind a proxy its resolver decides; what the name means here is refused all the same."""
        try:
            self.guard.checked(url.host, url.port or 0)
        except httpcore.ConnectError:
            return  # a machine that needs a proxy often resolves nothing

    def judge(self, answer: Answer) -> None:
        """Return for content; `Rejected` for what a commit has to mend, `Broken` for the rest."""
        if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            encoding = answer.headers.get("content-encoding", "identity")
            if encoding != "identity":
                raise Rejected(
                    f"{shown(self.address)} is sent with the encoding {encoding}, though none was asked for: "
                    "have it sent as it is"
                )
            return
        said = f"answers {answer.status} {phrase(answer.status)}".strip()
        if answer.status in LATER or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Broken(f"it {said}")
        said = f"{shown(self.address)} {said}"
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Rejected(f"{said}: it needs credentials, or a link that has not expired")
        raise Rejected(f"{said}: is the address in slipway.toml right?")


def parsed(address: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = base.join(address) if base else httpx.URL(address)
        host = url.host  # decoded here, and wrong for some names
    except (httpx.InvalidURL, ValueError) as error:
        raise Rejected(f"{shown(address)} is not an address") from error
    if url.scheme not in ("http", "https") or not host:
        raise Rejected(f"{shown(str(url))} is not an address of http or https, and something led to it")
    return url


def version_of(answer: Answer) -> Version:
    """As the headers say. A date alone counts once it lies back: two changes may share a second."""
    ranged = CONTENT_RANGE.match(answer.headers.get("content-range", ""))
    length = ranged[2] if ranged else answer.headers.get("content-length", "")
    etag, modified = answer.headers.get("etag"), answer.headers.get("last-modified")
    if not etag and modified and not settled(modified, answer.headers.get("date")):
        modified = None
    return Version(etag, modified, int(length) if re.fullmatch(r"\d{1,18}", length, re.ASCII) else None)


def settled(modified: str, date: str | None) -> bool:
    try:
        return parsedate_to_datetime(date or "") - parsedate_to_datetime(modified) > timedelta(seconds=1)
    except (ValueError, TypeError, OverflowError):  # no date, or two of different kinds
        return False


def strong(version: Version) -> str | None:
    """What `If-Range` may hold: it stands for the same bytes, not just for the same meaning."""
    if version.etag:
        return None if version.etag.startswith("W/") else version.etag
    return version.modified


def first_byte(answer: Answer) -> int:
    found = CONTENT_RANGE.match(answer.headers.get("content-range", ""))
    if found is None:
        raise Changed
    return int(found[1])


def basic(url: httpx.URL) -> str:
    user, _, password = url.userinfo.partition(b":")
    pair = f"{unquote(user.decode())}:{unquote(password.decode())}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in list(HTTPStatus) else ""


@cache
def trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()
