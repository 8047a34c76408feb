"""A Postgres that goes silent: nothing waits for it without end, and all goes on when it speaks again."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from sqlalchemy import make_url, text

from cli.up.postgres import Postgres
from db import limits
from db.leader import LeaderLock
from db.listener import NotificationListener
from db.session import DB_ERRORS, create_sessionmaker
from tests.harness.faults import Hole
from tests.harness.waiting import wait_until


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
    monkeypatch.setattr("db.limits.ANSWER_MARGIN_SECONDS", 0.5)
    monkeypatch.setattr("db.limits.CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("db.leader.ANSWER_SECONDS", 1.0)


def test_a_silent_server_is_given_up_and_found_again(hole: Hole, url: str) -> None:
    only, wakeup, make = (
        LeaderLock(url, "test"),
        NotificationListener(url, "test"),
        create_sessionmaker(url, seconds=1),
    )

    def ask() -> bool:
        try:
            with make.begin() as session:
                return session.execute(text("SELECT true")).scalar_one() is True
        except DB_ERRORS:
            return False

    assert only.acquire()
    assert ask()
    wakeup.wait(0)
    hole.open.clear()
    with ThreadPoolExecutor() as threads:
        given_up = [threads.submit(do) for do in (only.acquire, ask)]
        try:
            assert [future.result(timeout=60) for future in given_up] == [False, False]
        finally:
            hole.open.set()
    wait_until(ask, 60, "statements are answered again")
    wait_until(only.acquire, 60, "the lock is taken again")
    only.release()
    wakeup.close()
    make.kw["bind"].dispose()


def test_a_statement_that_takes_too_long_ends_on_the_server(database_url: str) -> None:
    make = create_sessionmaker(database_url, seconds=0.5)
    with pytest.raises(DB_ERRORS, match="statement timeout"), make.begin() as session:
        session.execute(text("SELECT pg_sleep(60)"))
    with make.begin() as session:
        assert session.execute(text("SELECT true")).scalar_one() is True
    make.kw["bind"].dispose()


def test_a_statement_of_a_builder_may_take_longer(database_url: str) -> None:
    make = create_sessionmaker(database_url, limits.BUILDER_SECONDS)
    with make.begin() as session:
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == "10min"
    make.kw["bind"].dispose()


@pytest.mark.parametrize("connect", [limits.connect, psycopg2.connect])
def test_a_server_that_takes_connections_and_says_nothing(
    connect: Callable[[str], object], hole: Hole, url: str
) -> None:
    hole.open.clear()
    with pytest.raises(psycopg2.OperationalError, match="has not responded for 1 s"):
        connect(url)
