"""The part of GitHub's REST API that the tap calls, and the control calls of tests and the demo."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from resources.demo.github.app import FakeApp, FakeToken, refuse_token
from resources.demo.github.documents import encode_pulls, pull_document, repository_document, repository_id
from resources.demo.github.faults import FaultInjector, GitHubFault
from resources.demo.github.page import render_page
from resources.demo.github.pulls import FakePullRequests
from resources.demo.github.responses import (
    GitHubResponse,
    alter_response,
    error_response,
    fault_response,
    garble_pulls,
    json_response,
    link_headers,
    not_found,
)
from resources.demo.github.writes import answer_write, get_written
from resources.demo.github.written import WrittenStates

HOURLY_LIMIT = 5000  # calls an hour
WINDOW_SECONDS = 3600
VARY_HEADER = "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept, X-Requested-With"

Action = Callable[..., Any]


def create_server(
    *pulls: FakePullRequests,
    port: int = 0,
    host: str = "127.0.0.1",
    token: str | None = None,
    actions: Mapping[str, Action] | None = None,
    written: WrittenStates | None = None,
    app: FakeApp | None = None,
) -> "FakeGitHub":
    """Listen at once, respond after `serve_forever()` or inside `with`.

    Tokens other than `token` and those of the installation of `app` get 401.
    """
    github = FakeGitHub((host, port), pulls, token, actions or {}, written or WrittenStates())
    github.app = app
    return github


class FakeGitHub(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        pulls: tuple[FakePullRequests, ...],
        token: str | None,
        actions: Mapping[str, Action],
        written: WrittenStates,
    ) -> None:
        super().__init__(address, GitHubHandler)
        self.url = f"http://{address[0]}:{self.server_port}"
        self.pulls = {collection.repository: collection for collection in pulls}
        self.token = token
        self.app: FakeApp | None = None
        self.faults, self.write_faults = FaultInjector(), FaultInjector()  # of the list, of writes
        self.written = written
        self.log: list[str] = []  # "GET /repos/…", but for control calls
        self.used_calls = 0  # calls of this window
        self.clock_offset_seconds = 0  # seconds that GitHub's clock is before this machine's
        self.window_ends = self.current_time() + WINDOW_SECONDS
        self.actions: dict[str, Action] = {
            "reset": self.reset,
            "fault": lambda **fault: self.faults.arm(GitHubFault(**fault)),
            "write-fault": lambda **fault: self.write_faults.arm(GitHubFault(**fault)),
            "delete-comment": self.written.delete_comment,
            "open": lambda repository=None, **fields: self.get_pulls(repository).open(**fields),
            "merge": lambda number, repository=None: asdict(self.get_pulls(repository).merge(number)),
            "touch": lambda number, repository=None, **fields: asdict(
                self.get_pulls(repository).touch(number, **fields)
            ),
            **actions,
        }

    def reset(self) -> None:
        """Clear the log, the armed faults and the calls used."""
        self.faults.arm(None)
        self.write_faults.arm(None)
        self.log.clear()
        self.used_calls = 0

    def current_time(self) -> int:
        return int(time.time()) + self.clock_offset_seconds

    def count_request(self, request: str) -> None:
        """Count one more call of the window; a window that has ended is replaced by a new one."""
        self.log.append(request)
        if self.current_time() >= self.window_ends:
            self.used_calls, self.window_ends = 0, self.current_time() + WINDOW_SECONDS
        self.used_calls += 1

    def get_pulls(self, repository: str | None = None) -> FakePullRequests:
        """Return the repository's pull requests; the first one's when none is named."""
        return self.pulls[repository] if repository else next(iter(self.pulls.values()))

    def resolve_path(self, path: list[str]) -> tuple[FakePullRequests | None, list[str]]:
        """Resolve `/repos/owner/name/…`, `/repositories/id/…` of Link headers, and the rest of the path."""
        match path:
            case ["repos", owner, name, *rest]:
                return self.pulls.get(f"{owner}/{name}"), rest
            case ["repositories", number, *rest]:
                same = (c for c in self.pulls.values() if str(repository_id(c.repository)) == number)
                return next(same, None), rest
        return None, path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnected."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), name="github", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


class GitHubHandler(BaseHTTPRequestHandler):
    server: FakeGitHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Log nothing: the requests are in `FakeGitHub.log`."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.current_time() if timestamp is None else timestamp)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = url.path.strip("/").split("/")
        if path == ["_control", "log"]:
            self.send(json_response(self.server.log))
            return
        if len(path) == 2 and path[0] == "pulls":
            self.send(self.get_page(path[1]))
            return
        if not self.admit():
            return
        match self.server.resolve_path(path):
            case FakePullRequests() as pulls, ["pulls"]:
                self.answer_list(pulls, dict(parse_qsl(url.query)))
            case pulls, rest:
                self.answer_with_faults(
                    lambda: (
                        get_written(self.server, pulls, rest, dict(parse_qsl(url.query)))
                        or (self.get_resource(pulls, rest) if pulls else not_found())
                    )
                )

    def admit(self, body: bytes = b"") -> bool:
        """Count a request; answer it here where its token may not do it, or is the App's own."""
        github, token = self.server, self.headers.get("Authorization", "").split(" ")[-1]
        github.count_request(f"{self.command} {self.path}")
        path = urlsplit(self.path).path.strip("/").split("/")
        if github.app is not None:
            app, now = github.app, github.current_time()
            answer = app.answer(self.command, path, body, token, now=now, api=github.url)
            if answer is not None:
                self.answer_with_faults(lambda: answer)
                return False
            if (issued := app.find_token(token, now)) is not None:
                return self.admit_installation(issued, path)
        if github.token and token != github.token:
            self.send(error_response(401, "Bad credentials", quota=False))
            return False
        return True

    def admit_installation(self, token: FakeToken, path: list[str]) -> bool:
        pulls, rest = self.server.resolve_path(path)
        refused = refuse_token(token, self.command, pulls.repository if pulls else "", rest)
        if refused is not None:
            self.send(refused)
        return refused is None

    def answer_with_faults(self, answer: Callable[[], GitHubResponse]) -> None:
        """Answer as the armed fault of writes has it."""
        faults = self.server.write_faults
        fault = faults.next_write_fault(f"{self.command} {self.path}")
        done = answer() if fault.kind.startswith("done-") else None
        faults.wait_for(fault)
        if fault.kind in ("dropped", "done-then-dropped"):
            self.close_connection = True
            return
        reset = {"X-RateLimit-Reset": str(self.server.current_time() + fault.wait)}
        self.send(done or fault_response(fault, reset) or alter_response(fault, answer(), reset))

    def get_page(self, number: str) -> GitHubResponse:
        """Return what people see of a pull request of the first repository."""
        pulls = self.server.get_pulls()
        try:
            pull = pull_document(pulls.repository, pulls.get(int(number)), self.server.url)
        except ValueError:
            return not_found()
        page = render_page(self.server.written, pulls.repository, pull)
        return GitHubResponse(200, page.encode(), type="text/html; charset=utf-8", quota=False)

    def get_resource(self, pulls: FakePullRequests, path: list[str]) -> GitHubResponse:
        try:
            match path:
                case []:
                    return json_response(repository_document(pulls.repository, self.server.url))
                case ["pulls", number] if number.isdigit():
                    return json_response(
                        pull_document(pulls.repository, pulls.get(int(number)), self.server.url)
                    )
        except ValueError:
            """Never opened."""
        return not_found()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path.strip("/").split("/")
        if path[0] in ("repos", "app"):
            self.write(path, body)
            return
        if len(path) != 2 or path[0] != "_control" or path[1] not in self.server.actions:
            self.send(not_found())
            return
        try:
            result = self.server.actions[path[1]](**json.loads(body or b"{}"))
        except (ValueError, TypeError, KeyError) as error:
            self.send(error_response(409, str(error)))
        else:
            self.send(json_response(result))

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.write(urlsplit(self.path).path.strip("/").split("/"), body)

    def write(self, path: list[str], body: bytes) -> None:
        if self.admit(body):
            pulls, rest = self.server.resolve_path(path)
            self.answer_with_faults(lambda: answer_write(self.server, pulls, [self.command, *rest], body))

    def answer_list(self, pulls: FakePullRequests, query: dict[str, str]) -> None:
        fault = self.server.faults.next_fault()
        if fault.kind == "dropped":
            self.close_connection = True
            return
        reset = {"X-RateLimit-Reset": str(self.server.current_time() + fault.wait)}
        failed = fault_response(fault, reset)
        self.send(failed or self.add_etag(alter_response(fault, self.list_page(pulls, query, fault), reset)))

    def add_etag(self, answer: GitHubResponse) -> GitHubResponse:
        """Add the ETag; return 304 where the client has it. An authorized 304 takes nothing off the quota."""
        sent = (self.headers.get("Authorization", ""), self.headers.get("Accept", ""))
        digest = hashlib.sha256("\n".join(sent).encode() + answer.body).hexdigest()
        tagged = replace(answer, headers={**answer.headers, "ETag": f'W/"{digest}"', "Vary": VARY_HEADER})
        etags = self.headers.get("If-None-Match", "")
        if digest not in [tag.strip().removeprefix("W/").strip('"') for tag in etags.split(",")]:
            return tagged
        self.server.used_calls -= 1 if sent[0] else 0
        return replace(tagged, status=304, body=b"")

    def list_page(self, pulls: FakePullRequests, query: dict[str, str], fault: GitHubFault) -> GitHubResponse:
        sort = {"created": "created_at", "updated": "updated_at"}.get(query.get("sort", ""), "created_at")
        newest_first = query.get("direction", "desc" if sort == "created_at" else "asc") == "desc"
        found = pulls.list_pulls(query.get("state", "open"), sort, newest_first)  # type: ignore[arg-type]
        size = max(1, min(100, int(query.get("per_page", 30))))
        number = max(1, int(query.get("page", 1)))
        chosen = found[(number - 1) * size : number * size]
        if fault.kind == "garbled":
            chosen = garble_pulls(chosen, fault)
        body = encode_pulls(pulls.repository, chosen, self.server.url)
        last = max(1, -(-len(found) // size))
        here = f"{self.server.url}/repositories/{repository_id(pulls.repository)}/pulls"
        return GitHubResponse(200, body, link_headers(here, query, number, last), remaining=fault.remaining)

    def send(self, answer: GitHubResponse) -> None:
        self.send_response(answer.status)
        if answer.status != 304:
            self.send_header("Content-Type", answer.type)
            self.send_header("Content-Length", str(len(answer.body)))
        if answer.quota:
            left = HOURLY_LIMIT - self.server.used_calls if answer.remaining is None else answer.remaining
            self.send_header("X-RateLimit-Limit", str(HOURLY_LIMIT))
            self.send_header("X-RateLimit-Remaining", str(max(0, left)))
            self.send_header("X-RateLimit-Resource", "core")
            if "X-RateLimit-Reset" not in answer.headers:
                self.send_header("X-RateLimit-Reset", str(self.server.window_ends))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
