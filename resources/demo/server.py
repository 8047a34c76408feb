"""The demo over HTTP: GitHub's API from the stand-in, control calls, and the repository for `git clone`."""

import re
import subprocess
import zlib
from urllib.parse import urlsplit

from resources.demo.desk import Desk
from resources.demo.github import GitHub
from resources.demo.github.server import Answer, Handler, refusal
from resources.demo.repository import START, environment

LARGEST = 1024 * 1024  # bytes; what git asks for in a fetch is some kB


def serve(desk: Desk, host: str = "127.0.0.1", port: int = 0) -> "Demo":
    """Listens at once and answers after `serve_forever()` or inside `with`; `clone_url` is for git."""
    return Demo(desk, host, port)


class Demo(GitHub):
    def __init__(self, desk: Desk, host: str, port: int) -> None:
        super().__init__((host, port), (desk.pulls,), None, {"merge": desk.merge, "list": desk.list})
        self.RequestHandlerClass = WithGit
        self.bare = desk.repository.path
        self.clone_url = f"{self.url}/{self.bare.name}"


class WithGit(Handler):
    """Read-only git over HTTP: two fixed addresses, and no path that a client could bend."""

    server: Demo

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        url = urlsplit(self.path)
        if url.path != f"/{self.server.bare.name}/info/refs":
            super().do_GET()
        elif url.query != "service=git-upload-pack":
            self.send(refusal(403, "This repository can be cloned and fetched, not pushed to"))
        else:
            refs = self.upload_pack(b"", "--advertise-refs")
            self.send(git("advertisement", b"001e# service=git-upload-pack\n0000" + refs))

    def do_POST(self) -> None:  # noqa: N802
        if urlsplit(self.path).path != f"/{self.server.bare.name}/git-upload-pack":
            super().do_POST()
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST:
            self.close_connection = True  # what was not read must not be taken for the next request
            self.send(refusal(413, f"A fetch asks in at most {LARGEST} bytes of a known length"))
            return
        body = self.rfile.read(int(length))
        if self.headers.get("Content-Encoding") == "gzip":
            body = zlib.decompressobj(wbits=31).decompress(body, LARGEST)
        self.send(git("result", self.upload_pack(body)))

    def upload_pack(self, request: bytes, *options: str) -> bytes:
        protocol = self.headers.get("Git-Protocol", "")
        version = {"GIT_PROTOCOL": protocol} if re.fullmatch(r"version=\d", protocol) else {}
        return subprocess.run(
            ["git", "upload-pack", "--strict", "--stateless-rpc", *options, self.server.bare],
            env={**environment("demo", START), **version},
            input=request,
            check=False,
            capture_output=True,
        ).stdout


def git(kind: str, body: bytes) -> Answer:
    return Answer(
        200, body, {"Cache-Control": "no-cache"}, type=f"application/x-git-upload-pack-{kind}", quota=False
    )
