"""vcs bounds what its clients take: connections, headers, bodies, guesses."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session, sessionmaker

from common.auth import operator_token, throttle
from common.web import bodies
from common.web.connection_limits import ConnectionLimits
from tests.harness import plain_http
from tests.harness.raw import connect, exchange
from tests.harness.waiting import wait_until
from tests.vcs.conftest import SettingsOf, listening


def test_what_is_silent_is_closed_and_a_flood_leaves_room(
    settings_of: SettingsOf, sessions: sessionmaker[Session]
) -> None:
    limits = ConnectionLimits(connections=20, header_seconds=0.5, proxies=("127.0.0.1",))
    with listening(settings_of(), sessions, limits) as client, ExitStack() as stack:
        url = str(client.base_url)
        for _ in range(5):
            flood = [stack.enter_context(connect(url)) for _ in range(20)]
            assert plain_http.get(f"{url}/health").status_code == 200
        flood[-1].settimeout(20)
        assert flood[-1].recv(1) == b""


def test_a_delivery_that_does_not_come_is_given_up(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_SECONDS", 0.3)
    head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"

    assert exchange(str(client.base_url), head).startswith(b"HTTP/1.1 408 ")
    with connect(str(client.base_url)) as connection:
        connection.sendall(head)
        assert client.get("/health").status_code == 200
    wait_until(lambda: client.get("/health").status_code == 200, 10, "vcs goes on")
    assert [line for line in lines if "broke" in line] == []


def test_guesses_wait_and_others_do_not(
    settings_of: SettingsOf,
    sessions: sessionmaker[Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "DELAY_STEP_SECONDS", 30)
    monkeypatch.setattr(throttle, "MAX_DELAY_SECONDS", 30)
    operator_token.create_if_missing(tmp_path)
    request = "GET /pull-requests HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n"
    with listening(settings_of(private=True, home=tmp_path), sessions) as client:
        url = str(client.base_url)

        def guess(address: str, presented: str) -> int:
            with connect(url, address) as connection:
                connection.sendall(request.format(presented).encode())
                return int(connection.recv(1 << 16).split(b" ")[1])

        assert [guess("127.0.0.1", "wrong") for _ in range(throttle.MAX_FREE_ATTEMPTS)] == [
            401
        ] * throttle.MAX_FREE_ATTEMPTS
        with connect(url) as late:
            late.sendall(request.format("wrong").encode())
            assert guess("127.0.0.2", "wrong") == 401
            assert guess("127.0.0.2", operator_token.read_stored(tmp_path) or "") == 200
            late.setblocking(False)
            with pytest.raises(BlockingIOError):
                late.recv(1)


@pytest.mark.parametrize("module", ["vcs", "ml"])
def test_a_token_that_can_be_guessed_is_refused_at_the_start(module: str, tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "SLIPWAY_TOKEN": "fifteen-letters",
        "SLIPWAY_REPOSITORY": "acme/widgets",
        "SLIPWAY_HOME": str(tmp_path),
        "DATABASE_URL": "postgresql://nowhere",
    }
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", module]
    done = subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("SLIPWAY_TOKEN: has 15 characters and needs 16")
    assert "secrets.token_urlsafe(32)" in line
    assert "fifteen" not in line
