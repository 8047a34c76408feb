"""The demo over HTTP: the fake of GitHub's API, control calls, and the repository for `git clone`."""

import re
import subprocess
import zlib
from urllib.parse import urlsplit

from resources.demo.demo_github import DemoPullRequests
from resources.demo.github import FakeGitHub
from resources.demo.github.responses import GitHubResponse, error_response
from resources.demo.github.server import Action, GitHubHandler
from resources.demo.repository import START_TIME, commit_environment

MAX_REQUEST_BYTES = 1024 * 1024  # a fetch's request is some kB


def create_demo_server(desk: DemoPullRequests, host: str = "127.0.0.1", port: int = 0) -> "DemoServer":
    """Listen at once and respond after `serve_forever()` or inside `with`; `clone_url` is for git."""
    return DemoServer(desk, host, port)


class DemoServer(FakeGitHub):
    def __init__(self, desk: DemoPullRequests, host: str, port: int) -> None:
        actions: dict[str, Action] = {
            "merge": desk.merge,
            "queue": desk.queue,
            "list": desk.list_pulls,
            "tomorrow": desk.advance_data,
            "page-model": desk.advance_model,
        }
        super().__init__((host, port), (desk.pulls,), None, actions, desk.written)
        self.RequestHandlerClass = GitHttpHandler
        self.bare_path, self.desk = desk.repository.path, desk
        self.clone_url = f"{self.url}/{self.bare_path.name}"


class GitHttpHandler(GitHubHandler):
    """A handler of read-only git over HTTP: two fixed addresses, and no path that a client could bend."""

    server: DemoServer

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        url = urlsplit(self.path)
        if url.path != f"/{self.server.bare_path.name}/info/refs":
            super().do_GET()
        elif url.query != "service=git-upload-pack":
            self.send(error_response(403, "This repository can be cloned and fetched, not pushed to"))
        else:
            refs = self.run_upload_pack(b"", "--advertise-refs")
            self.send(git_response("advertisement", b"001e# service=git-upload-pack\n0000" + refs))

    def do_POST(self) -> None:  # noqa: N802
        if urlsplit(self.path).path != f"/{self.server.bare_path.name}/git-upload-pack":
            super().do_POST()
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_REQUEST_BYTES:
            self.close_connection = True  # unread data must not be taken for the next request
            self.send(
                error_response(413, f"A fetch asks in at most {MAX_REQUEST_BYTES} bytes of a known length")
            )
            return
        body = self.rfile.read(int(length))
        if self.headers.get("Content-Encoding") == "gzip":
            body = zlib.decompressobj(wbits=31).decompress(body, MAX_REQUEST_BYTES)
        self.send(git_response("result", self.run_upload_pack(body)))

    def write(self, path: list[str], body: bytes) -> None:
        """Take a writing, and let the merge queue go on after a status."""
        super().write(path, body)
        if "statuses" in path:
            self.server.desk.advance_queue()

    def run_upload_pack(self, request: bytes, *options: str) -> bytes:
        protocol = self.headers.get("Git-Protocol", "")
        version = {"GIT_PROTOCOL": protocol} if re.fullmatch(r"version=\d", protocol) else {}
        return subprocess.run(
            ["git", "upload-pack", "--strict", "--stateless-rpc", *options, self.server.bare_path],
            env={**commit_environment("demo", START_TIME), **version},
            input=request,
            check=False,
            capture_output=True,
        ).stdout


def git_response(kind: str, body: bytes) -> GitHubResponse:
    return GitHubResponse(
        200, body, {"Cache-Control": "no-cache"}, type=f"application/x-git-upload-pack-{kind}", quota=False
    )
