"""MLflow's own client reads no answer that is longer than any of MLflow's."""

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ml.mlflow_sync.rest import MAX_ANSWER_BYTES

TOO_MUCH = 4 * MAX_ANSWER_BYTES
PIECE = b" " * (1 << 20)
ASK = """
import sys
from ml.mlflow_sync.exporter import create_client
from ml.mlflow_sync.server import MlflowServer

client = create_client(MlflowServer(sys.argv[1]))
print(client.search_experiments(max_results=1))
"""


class WrongServer(ThreadingHTTPServer):
    """Answers each request with far more than MLflow does; `sent` has the bytes of all answers."""

    daemon_threads = True
    status, is_packed, sent, body = 200, False, 0, b""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, WrongServer)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(server.status)
        if server.is_packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        pieces = [server.body] if server.body else [PIECE] * (TOO_MUCH // len(PIECE))
        with suppress(OSError):
            for piece in [gzip.compress(b"".join(pieces), 1)] if server.is_packed else pieces:
                self.wfile.write(piece)
                server.sent += len(piece)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[WrongServer]:
    with WrongServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, args=[0.02], daemon=True).start()
        yield made
        made.shutdown()


def ask(server: WrongServer, code: int = 1) -> str:
    """What MLflow's client, as the exporter makes it, says at the end of a call."""
    url = f"http://127.0.0.1:{server.server_port}"
    environment = {"NO_PROXY": "127.0.0.1", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0"}
    asking = subprocess.run(
        [sys.executable, "-c", ASK, url], env=environment, capture_output=True, text=True, check=False
    )
    assert asking.returncode == code
    return asking.stdout + asking.stderr


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_answer_of_mlflows_size_is_read(server: WrongServer, is_packed: bool) -> None:
    server.is_packed = is_packed
    server.body = b'{"experiments": [{"name": "' + b"x" * (16 << 20) + b'"}]}'
    assert "x" * (16 << 20) in ask(server, code=0)


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_answer_without_an_end_is_not_read_on(server: WrongServer, is_packed: bool) -> None:
    server.is_packed = is_packed
    assert "the answer has more than 32 MiB: see what answers at this address" in ask(server)
    assert server.sent < TOO_MUCH / 2


def test_an_error_without_an_end_is_not_read_on_before_a_retry(server: WrongServer) -> None:
    server.status = 503
    assert "32 MiB" in ask(server) or "too many 503" in ask(server)
    assert server.sent < TOO_MUCH / 2
