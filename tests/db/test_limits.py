"""A Postgres that goes silent: nothing waits for it without end, and all goes on when it speaks again."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg2
import pytest
from sqlalchemy import make_url, text

from cli.postgres import Postgres
from db import limits
from db.lock import OnlyOne
from db.session import AWAY, sessions
from db.wakeup import Wakeup
from tests.support.waiting import wait_until


class Hole:
    """A proxy before a port: what comes while it is closed stays in it, and no connection ends."""

    def __init__(self, port: int) -> None:
        self._server, self._to = socket.create_server(("127.0.0.1", 0)), port
        self.open = threading.Event()
        self.open.set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def close(self) -> None:
        self.open.set()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._server.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(65536):
                self.open.wait()
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)


@pytest.fixture
def hole(postgres: Postgres) -> Iterator[Hole]:
    made = Hole(postgres.port)
    yield made
    made.close()


@pytest.fixture
def url(hole: Hole, database_url: str) -> str:
    through = make_url(database_url).set(host="127.0.0.1", port=hole.port)
    return through.render_as_string(hide_password=False)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.limits.SLOWER", 0.5)
    monkeypatch.setattr("db.limits.CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("db.lock.SECONDS", 1.0)


def test_a_silent_server_is_given_up_and_found_again(hole: Hole, url: str) -> None:
    only, wakeup, make = OnlyOne(url, "test"), Wakeup(url, "test"), sessions(url, seconds=1)

    def ask() -> bool:
        try:
            with make.begin() as session:
                return session.execute(text("SELECT true")).scalar_one() is True
        except AWAY:
            return False

    assert only.held()
    assert ask()
    wakeup.wait(0)
    hole.open.clear()
    with ThreadPoolExecutor() as threads:
        given_up = [threads.submit(do) for do in (only.held, ask)]
        try:
            assert [future.result(timeout=60) for future in given_up] == [False, False]
        finally:
            hole.open.set()
    wait_until(ask, 60, "statements are answered again")
    wait_until(only.held, 60, "the lock is taken again")
    only.release()
    wakeup.close()
    make.kw["bind"].dispose()


def test_a_statement_that_takes_too_long_ends_on_the_server(database_url: str) -> None:
    make = sessions(database_url, seconds=0.5)
    with pytest.raises(AWAY, match="statement timeout"), make.begin() as session:
        session.execute(text("SELECT pg_sleep(60)"))
    with make.begin() as session:
        assert session.execute(text("SELECT true")).scalar_one() is True
    make.kw["bind"].dispose()


def test_a_statement_of_a_builder_may_take_longer(database_url: str) -> None:
    make = sessions(database_url, limits.BUILDER_SECONDS)
    with make.begin() as session:
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == "10min"
    make.kw["bind"].dispose()


@pytest.mark.parametrize("connect", [limits.connect, psycopg2.connect])
def test_a_server_that_takes_connections_and_says_nothing(
    connect: Callable[[str], object], hole: Hole, url: str
) -> None:
    hole.open.clear()
    with pytest.raises(psycopg2.OperationalError, match="has said nothing for 1 s"):
        connect(url)
