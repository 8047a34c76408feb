"""Answers the part of GitHub's REST API that the tap asks, and the control calls of tests and the demo."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from resources.demo.github.documents import document, encode, repository_document, repository_id
from resources.demo.github.faults import Fault, Faults
from resources.demo.github.pulls import PullRequest, PullRequests

LIMIT = 5000  # calls an hour
WINDOW = 3600
DOCUMENTATION = "https://docs.github.com/rest"

Action = Callable[..., Any]


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    type: str = "application/json; charset=utf-8"
    quota: bool = True  # an edge in front of GitHub sends no X-RateLimit headers, neither does a 401
    remaining: int | None = None


def serve(
    *pulls: PullRequests,
    port: int = 0,
    host: str = "127.0.0.1",
    token: str | None = None,
    actions: Mapping[str, Action] | None = None,
) -> "GitHub":
    """Listens at once and answers after `serve_forever()` or inside `with`. `token`: any other gets a 401."""
    return GitHub((host, port), pulls, token, actions or {})


class GitHub(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        pulls: tuple[PullRequests, ...],
        token: str | None,
        actions: Mapping[str, Action],
    ) -> None:
        super().__init__(address, Handler)
        self.url = f"http://{address[0]}:{self.server_port}"
        self.pulls = {collection.repository: collection for collection in pulls}
        self.token = token
        self.faults = Faults()
        self.log: list[str] = []  # "GET /repos/…", but for control calls
        self.used = 0  # calls of this window
        self.ahead = 0  # seconds that GitHub's clock is before this machine's
        self.window_ends = self.now() + WINDOW
        self.actions: dict[str, Action] = {
            "reset": self.reset,
            "fault": lambda **fault: self.faults.arm(Fault(**fault)),
            "open": lambda repository=None, **fields: self.collection(repository).open(**fields),
            "merge": lambda number, repository=None: asdict(self.collection(repository).merge(number)),
            "touch": lambda number, repository=None, **fields: asdict(
                self.collection(repository).touch(number, **fields)
            ),
            **actions,
        }

    def reset(self) -> None:
        """Forget the log, the armed fault and the calls used."""
        self.faults.arm(None)
        self.log.clear()
        self.used = 0

    def now(self) -> int:
        return int(time.time()) + self.ahead

    def count(self, request: str) -> None:
        """One more call of the window; the window that has ended gives way to a new one."""
        self.log.append(request)
        if self.now() >= self.window_ends:
            self.used, self.window_ends = 0, self.now() + WINDOW
        self.used += 1

    def collection(self, repository: str | None = None) -> PullRequests:
        """The first one when none is named."""
        return self.pulls[repository] if repository else next(iter(self.pulls.values()))

    def find(self, path: list[str]) -> tuple[PullRequests | None, list[str]]:
        """`/repos/owner/name/…` and what Link headers say, `/repositories/id/…`; and what comes after it."""
        match path:
            case ["repos", owner, name, *rest]:
                return self.pulls.get(f"{owner}/{name}"), rest
            case ["repositories", number, *rest]:
                same = (c for c in self.pulls.values() if str(repository_id(c.repository)) == number)
                return next(same, None), rest
        return None, path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), name="github", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: GitHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """The requests are in `GitHub.log`."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.now() if timestamp is None else timestamp)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = url.path.strip("/").split("/")
        if path == ["_control", "log"]:
            self.send(plain(self.server.log))
            return
        self.server.count(f"GET {self.path}")
        if self.server.token and self.headers.get("Authorization", "").split(" ")[-1] != self.server.token:
            self.send(refusal(401, "Bad credentials", quota=False))
            return
        match self.server.find(path):
            case PullRequests() as pulls, ["pulls"]:
                self.list(pulls, dict(parse_qsl(url.query)))
            case PullRequests() as pulls, rest:
                self.send(self.one(pulls, rest))
            case _:
                self.send(refusal(404, "Not Found"))

    def one(self, pulls: PullRequests, path: list[str]) -> Answer:
        try:
            match path:
                case []:
                    return plain(repository_document(pulls.repository, self.server.url))
                case ["pulls", number] if number.isdigit():
                    return plain(document(pulls.repository, pulls.get(int(number)), self.server.url))
        except ValueError:
            """Never opened."""
        return refusal(404, "Not Found")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path.strip("/").split("/")
        if len(path) != 2 or path[0] != "_control" or path[1] not in self.server.actions:
            self.send(refusal(404, "Not Found"))
            return
        try:
            result = self.server.actions[path[1]](**json.loads(body or b"{}"))
        except (ValueError, TypeError, KeyError) as error:
            self.send(refusal(409, str(error)))
        else:
            self.send(plain(result))

    def list(self, pulls: PullRequests, query: dict[str, str]) -> None:
        fault = self.server.faults.next()
        if fault.kind == "dropped":
            self.close_connection = True
            return
        reset = {"X-RateLimit-Reset": str(self.server.now() + fault.wait)}
        self.send(fail(fault, reset) or spoil(fault, self.page(pulls, query, fault), reset))

    def page(self, pulls: PullRequests, query: dict[str, str], fault: Fault) -> Answer:
        sort = {"created": "created_at", "updated": "updated_at"}.get(query.get("sort", ""), "created_at")
        newest_first = query.get("direction", "desc" if sort == "created_at" else "asc") == "desc"
        found = pulls.list(query.get("state", "open"), sort, newest_first)  # type: ignore[arg-type]
        size = max(1, min(100, int(query.get("per_page", 30))))
        number = max(1, int(query.get("page", 1)))
        chosen = found[(number - 1) * size : number * size]
        if fault.kind == "garbled":
            chosen = garble(chosen, fault)
        body = encode(pulls.repository, chosen, self.server.url)
        last = max(1, -(-len(found) // size))
        here = f"{self.server.url}/repositories/{repository_id(pulls.repository)}/pulls"
        return Answer(200, body, link(here, query, number, last), remaining=fault.remaining)

    def send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.quota:
            left = LIMIT - self.server.used if answer.remaining is None else answer.remaining
            self.send_header("X-RateLimit-Limit", str(LIMIT))
            self.send_header("X-RateLimit-Remaining", str(max(0, left)))
            self.send_header("X-RateLimit-Resource", "core")
            if "X-RateLimit-Reset" not in answer.headers:
                self.send_header("X-RateLimit-Reset", str(self.server.window_ends))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)


def plain(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode())


def refusal(status: int, message: str, **more: Any) -> Answer:
    body = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}
    return Answer(status, json.dumps(body).encode(), **more)


def link(here: str, query: dict[str, str], page: int, last: int) -> dict[str, str]:
    pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    if page >= last:
        del pages["next"], pages["last"]
    if page <= 1:
        del pages["prev"], pages["first"]
    links = [f'<{here}?{urlencode({**query, "page": n})}>; rel="{rel}"' for rel, n in pages.items()]
    return {"Link": ", ".join(links)} if links else {}


def fail(fault: Fault, reset: dict[str, str]) -> Answer | None:
    """The answers that carry no pull requests, worded as GitHub words them."""
    retry = {"Retry-After": str(fault.wait)}
    failures = {
        "unauthorized": refusal(401, "Bad credentials", quota=False),
        "forbidden": refusal(403, "Resource not accessible by personal access token"),
        "rate-limit": refusal(403, "API rate limit exceeded for user ID 1.", headers=reset, remaining=0),
        "secondary-rate-limit": refusal(403, "You have exceeded a secondary rate limit.", headers=retry),
        "too-many-requests": refusal(429, "Too many requests", headers=retry),
        "not-found": refusal(404, "Not Found"),
        "server-error": refusal(500, "Server Error"),
        "bad-gateway": Answer(502, b"<html><h1>502 Bad Gateway</h1></html>", type="text/html", quota=False),
        "html": Answer(200, b"<!DOCTYPE html><html><h1>Unicorn!</h1></html>", type="text/html"),
    }
    return failures.get(fault.kind)


def spoil(fault: Fault, answer: Answer, reset: dict[str, str]) -> Answer:
    """The answers that do carry pull requests, but not as they should."""
    match fault.kind:
        case "truncated":
            return Answer(200, answer.body[: len(answer.body) // 2], answer.headers)
        case "last-call":
            return Answer(200, answer.body, {**answer.headers, **reset}, remaining=0)
    return answer


def garble(pulls: list[PullRequest], fault: Fault) -> list[PullRequest]:
    return [PullRequest(**{**vars(p), "wrong": fault.fields}) if i == 0 else p for i, p in enumerate(pulls)]
