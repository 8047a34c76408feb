"""A file behind http or https, by our own requests: fsspec's read whole answers, and resume with any."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpcore
import httpx

from common.allowed_addresses import AddressPolicy
from common.errors import RejectedError
from common.web.deadline import Deadline, DeadlineBackend
from common.web.guarded_connections import GuardedBackend, RefusedAddressError, basic_auth, open_pool
from ml.sources.fetch.http_headers import (
    HttpResponse,
    parse_first_byte,
    parse_version,
    status_phrase,
    strong_validator,
)
from ml.sources.fetch.origin import FileContent, FileVersion, OriginChangedError, OriginError, mask_address

MAX_REDIRECTS = 10
TIMEOUT_SECONDS = 30  # seconds for a connection, and between two chunks of an answer
HEADERS_SECONDS = 60  # from the connection to the end of an answer's headers, however slowly they come
RETRYABLE_STATUSES = {408, 425, 429}  # the client's fault by number, an external fault by meaning


class HttpFile:
    """A file behind http or https.

    It follows redirects itself, so that each address on the way is checked like the first.
    """

    def __init__(
        self, address: str, allowed: AddressPolicy, *, headers_seconds: float = HEADERS_SECONDS
    ) -> None:
        self.address, self.allowed, self.headers_seconds = address, allowed, headers_seconds

    def get_version(self) -> FileVersion:
        with self.request("HEAD", {}) as answer:
            if answer.status < HTTPStatus.BAD_REQUEST:
                return parse_version(answer)
        # The server may only accept GET: an address that was signed for it, or a small server.
        with self.request("GET", {"Range": "bytes=0-0"}) as answer:
            self.check_status(answer)
            return parse_version(answer)

    @contextmanager
    def read(self, start: int, version: FileVersion) -> Iterator[FileContent]:
        validator = strong_validator(version)
        resume = {"Range": f"bytes={start}-", "If-Range": validator} if start and validator else {}
        with self.request("GET", resume) as answer:
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise OriginChangedError
            self.check_status(answer)
            now = parse_version(answer)
            if answer.status == HTTPStatus.PARTIAL_CONTENT:
                first_byte = parse_first_byte(answer)  # it may begin before the requested byte
                if first_byte > start or not now.is_compatible(version):
                    raise OriginChangedError
                yield FileContent(version, first_byte, answer.chunks)
            else:
                yield FileContent(now, 0, answer.chunks)

    @contextmanager
    def request(self, method: str, headers: dict[str, str]) -> Iterator[HttpResponse]:
        """Return the answer that the redirects lead to."""
        url = parse_url(self.address)
        headers = {"Accept-Encoding": "identity", "Accept": "*/*", "User-Agent": "slipway", **headers}
        if url.userinfo:
            headers["Authorization"] = basic_auth(url)
        for _ in range(MAX_REDIRECTS + 1):
            with self.send_request(method, url, headers) as answer:
                if answer.status not in (301, 302, 303, 307, 308) or "location" not in answer.headers:
                    yield answer
                    return
                next_url = parse_url(answer.headers["location"], url)
            if (next_url.scheme, next_url.host, next_url.port) != (url.scheme, url.host, url.port):
                headers.pop("Authorization", None)
            url = next_url
        raise RejectedError(f"{mask_address(self.address)} leads from one address to the next without an end")

    @contextmanager
    def send_request(self, method: str, url: httpx.URL, headers: dict[str, str]) -> Iterator[HttpResponse]:
        """Send one request to one address; how long its content takes is limited by whoever reads it."""
        deadline = Deadline(self.headers_seconds)
        backend = DeadlineBackend(deadline)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        host = url.netloc.decode("ascii")
        try:
            with (
                open_pool(url, GuardedBackend(self.allowed, backend), backend) as pool,
                pool.stream(
                    method,
                    target,
                    headers=[(name, value) for name, value in {"Host": host, **headers}.items()],
                    extensions={
                        "timeout": dict.fromkeys(("connect", "read", "write", "pool"), float(TIMEOUT_SECONDS))
                    },
                ) as response,
            ):
                deadline.end()
                names = {key.decode("latin-1").lower(): value for key, value in response.headers}
                decoded_headers = {name: value.decode("latin-1") for name, value in names.items()}
                yield HttpResponse(response.status, decoded_headers, response.iter_stream())
        except httpcore.TimeoutException as error:
            seconds = self.headers_seconds if deadline.has_passed else TIMEOUT_SECONDS
            raise OriginError(f"{host} did not answer within {seconds:g} s") from error
        except RefusedAddressError as error:
            raise to_rejected_error(error) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise OriginError(f"{host}: {error}") from error

    def check_status(self, answer: HttpResponse) -> None:
        """Return for content; raise `RejectedError` where a commit has to fix it, else `OriginError`."""
        if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            encoding = answer.headers.get("content-encoding", "identity")
            if encoding != "identity":
                raise RejectedError(
                    f"{mask_address(self.address)} is sent with the encoding {encoding}, though "
                    "none was asked for: "
                    "have it sent as it is"
                )
            return
        message = f"answers {answer.status} {status_phrase(answer.status)}".strip()
        if answer.status in RETRYABLE_STATUSES or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise OriginError(f"it {message}")
        message = f"{mask_address(self.address)} {message}"
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RejectedError(f"{message}: it needs credentials, or a link that has not expired")
        raise RejectedError(f"{message}: is the address in slipway.toml right?")


def parse_url(address: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = base.join(address) if base else httpx.URL(address)
        host = url.host  # decoded here, and wrong for some names
    except (httpx.InvalidURL, ValueError) as error:
        raise RejectedError(f"{mask_address(address)} is not an address") from error
    if url.scheme not in ("http", "https") or not host:
        raise RejectedError(
            f"{mask_address(str(url))} is not an address of http or https, and something led to it"
        )
    return url


def to_rejected_error(error: RefusedAddressError) -> RejectedError:
    if not error.can_be_allowed:
        return RejectedError(str(error))
    return RejectedError(
        f"data is not fetched from {error.host}, which {error.reason}: if it is meant, "
        "the operator allows it with SLIPWAY_DATA_ALLOW"
    )
