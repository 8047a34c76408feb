"""Clients that send nothing, send slowly, send without end, or do not read, leave room for the others."""

import logging
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest

from common.web import bodies, connection_limits, server
from common.web.connection_limits import ConnectionLimits
from db.states import Status
from ml.paths import HomeLayout
from ml.web.api import logs
from tests.harness import plain_http
from tests.harness.raw import connect, exchange
from tests.harness.waiting import wait_until
from tests.ml.serving.support import ROOT, Shop, main_py

QUICK = ConnectionLimits(header_seconds=2, answer_seconds=2, proxies=("127.0.0.1",))
UPGRADE = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
HEAD = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture
def serve(make_shop: Callable[..., Shop]) -> Iterator[Callable[[ConnectionLimits], Shop]]:
    """`serve` with limits of the test's own."""
    with ExitStack() as stack:
        yield lambda limits: stack.enter_context(make_shop().serving(limits))


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed, after whatever it has sent."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


def get(connection: socket.socket, path: str = "/health") -> int:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    connection.settimeout(30)
    return int(connection.recv(1 << 16).split(b" ")[1])


@contextmanager
def dripping(connection: socket.socket) -> Iterator[None]:
    """Send a byte now and then, as long as the other side takes it."""
    over = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            while not over.wait(0.05):
                connection.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    "begun",
    [b"GET /health HTT", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Odd: "],
    ids=["first line", "header"],
)
@pytest.mark.parametrize("again", [False, True], ids=["new", "used before"])
def test_a_header_that_does_not_come_is_given_up(
    serve: Callable[[ConnectionLimits], Shop], begun: bytes, again: bool
) -> None:
    shop = serve(QUICK)
    with connect(shop.url) as silent, connect(shop.url) as drips, connect(shop.url) as idle:
        assert get(idle) == 200
        for connection in (silent, drips):
            assert not again or get(connection) == 200
            connection.sendall(begun)
        with dripping(drips):
            wait_until(lambda: ended(drips), 20, "what drips is closed")
        wait_until(lambda: ended(silent), 20, "what is silent is closed")

        assert get(idle) == 200  # between two requests a client may be silent for longer


def test_a_connection_without_a_request_is_given_up(serve: Callable[[ConnectionLimits], Shop]) -> None:
    shop = serve(QUICK)
    with connect(shop.url) as silent:
        wait_until(lambda: ended(silent), 20, "it is closed")


def test_a_body_that_nobody_waits_for_is_given_up(serve: Callable[[ConnectionLimits], Shop]) -> None:
    shop = serve(QUICK)
    with connect(shop.url) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        assert b" 200 " in connection.recv(1 << 16)
        with dripping(connection):
            wait_until(lambda: ended(connection), 20, "it is closed")


@pytest.mark.parametrize(
    "path", ["/sign-in", "/releases/1/deploy", "/releases/1/cancel", "/models/web-traffic/train"]
)
def test_a_small_body_has_its_time_and_its_size(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    bearer = f"Authorization: Bearer {(shop.settings.home / 'token').read_text().strip()}\r\n"
    head = (HEAD.format(path) + bearer).encode()
    large = (head + b"Content-Length: 1000000000\r\n\r\n", b"x")
    endless = (head + b"Transfer-Encoding: chunked\r\n\r\n", b"4001\r\n" + b"x" * 0x4001 + b"\r\n")
    for pieces in (large, endless):
        answer = exchange(shop.url, *pieces)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()

    monkeypatch.setattr(bodies, "MAX_BODY_SECONDS", 0.3)
    for pieces in ((head + b"Content-Length: 100\r\n\r\n", b"token="), (endless[0], b"6\r\ntoken=\r\n")):
        answer = exchange(shop.url, *pieces)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Odd: ",
        b"GET / HTTP/1.1\r\nX-",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Odd: ",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
    ids=["address", "value", "name", "trailer", "extension"],
)
def test_a_header_without_an_end_is_cut_off(shop: Shop, begun: bytes) -> None:
    with connect(shop.url) as connection, suppress(ConnectionError):
        connection.sendall(begun)
        for _ in range(200):
            connection.sendall(b"x" * 0x10000)
        pytest.fail("12 MiB of a header were taken")
    assert shop.get("/health").status_code == 200


def test_many_headers_in_many_requests_are_no_long_one(shop: Shop) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {'x' * 20_000}\r\n\r\n".encode()
    with connect(shop.url) as connection:
        for _ in range(20):
            connection.sendall(head)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_more_connections_than_there_is_room_for(serve: Callable[[ConnectionLimits], Shop]) -> None:
    shop = serve(ConnectionLimits(connections=20, proxies=("127.0.0.1",)))
    with ExitStack() as stack:
        flood = []
        for _ in range(10):
            flood += [stack.enter_context(connect(shop.url)) for _ in range(20)]
            assert plain_http.get(f"{shop.url}/health").status_code == 200
        still = [connection for connection in flood if not ended(connection)]
        assert len(still) <= 20
        assert still[-1] is flood[-1]  # the oldest went


def test_bodies_that_do_not_come_leave_room(serve: Callable[[ConnectionLimits], Shop]) -> None:
    shop = serve(ConnectionLimits(connections=20, proxies=("127.0.0.1",)))
    shop.publish(main_py())
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n1"
    with ExitStack() as stack:
        for _ in range(3):
            for _ in range(20):
                stack.enter_context(connect(shop.url)).sendall(head)
            assert plain_http.post(f"{shop.url}/predict", json=1).status_code == 200


def test_one_address_leaves_room_for_others(serve: Callable[[ConnectionLimits], Shop]) -> None:
    shop = serve(ConnectionLimits(connections=40))
    with ExitStack() as stack:
        honest = [stack.enter_context(connect(shop.url)) for _ in range(15)]
        assert [get(connection) for connection in honest] == [200] * 15
        flood = [stack.enter_context(connect(shop.url, "127.0.0.2")) for _ in range(200)]
        wait_until(lambda: sum(map(ended, flood)) >= 180, 20, "it has its share")

        assert [get(connection) for connection in honest] == [200] * 15
        assert get(stack.enter_context(connect(shop.url, "127.0.0.3"))) == 200


def test_whoever_does_not_read_is_dropped(
    serve: Callable[[ConnectionLimits], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "BEAT", 0.1)
    shop = serve(QUICK)
    long, quiet = (shop.publish(main_py(), status=Status.BUILDING) for _ in range(2))
    log = HomeLayout(shop.settings.home).log_path(long, "train")
    log.parent.mkdir(parents=True)
    log.write_bytes(b"epoch\n" * 4_000_000)
    path = "/releases/{}/logs?follow=1"
    with connect(shop.url) as deaf, connect(shop.url) as reader:
        for connection, release in ((deaf, long), (reader, quiet)):
            connection.sendall(f"GET {path.format(release)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b" 200 " in reader.recv(1 << 16)
        port = deaf.getsockname()[1]
        assert is_connected(port)
        wait_until(lambda: not is_connected(port), 20, "it is dropped")

        for _ in range(3):
            assert b"still here" in reader.recv(1 << 16)


def is_connected(port: int) -> bool:
    """Whether this process has the other end of a connection from a port."""
    found = psutil.Process().net_connections("tcp")
    return any(one.raddr and one.raddr.port == port for one in found)


def test_whoever_reads_slowly_gets_all_of_it(serve: Callable[[ConnectionLimits], Shop]) -> None:
    shop = serve(ConnectionLimits(answer_seconds=8))
    release = shop.publish(main_py(), status=Status.REJECTED)
    log = HomeLayout(shop.settings.home).log_path(release, "train")
    log.parent.mkdir(parents=True)
    log.write_bytes(b"epoch\n" * 2_000_000)
    with connect(shop.url) as connection:
        connection.sendall(
            f"GET /releases/{release}/logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        taken = 0
        while piece := connection.recv(1 << 17):
            taken += len(piece)
            time.sleep(0.02)  # slower than it is sent, quicker than nothing

    assert taken > 12_000_000


def test_a_client_that_sends_garbage_fills_no_log(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            assert b" 400 " in exchange(shop.url, b"\x16\x03\x01 no HTTP\r\n\r\n")
            exchange(
                shop.url,
                b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            )

    assert 0 < len(caplog.records) <= 2 * server.MAX_WARNINGS  # a minute may have begun meanwhile


def test_a_service_opens_as_many_files_as_it_may(make_shop: Callable[..., Shop]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        with make_shop().process() as process:
            limits = psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert limits == (min(hard, connection_limits.MAX_DESCRIPTORS), hard)


def test_half_of_the_files_are_for_connections() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 600));"
        "from common.web.connection_limits import make_connection_limits;"
        "print(make_connection_limits(()).connections)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.strip() == b"300"


SLOW = (
    b"",
    b"POST /predict HTTP/1.1\r\nHost: local",
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[1,",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",  # and idle after its answer
)


@pytest.mark.parametrize("limit", ["ulimit -S -n 1024", "ulimit -n 1024"])
def test_idle_connections_keep_no_worker_from_being_replaced(
    make_shop: Callable[..., Shop], limit: str
) -> None:
    shop = make_shop()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))  # of the clients alone
    try:
        with shop.process("sh", "-c", f'{limit} && exec "$@"', "sh"), ExitStack() as idle:
            shop.publish(main_py("return os.getpid()"))
            for number in range(2000):
                connection = idle.enter_context(connect(shop.url))
                with suppress(ConnectionError):  # it may be closed again already
                    connection.sendall(SLOW[number % len(SLOW)])
            for _ in range(3):
                worker = shop.predict(1).json()["prediction"]
                os.kill(worker, 9)
                wait_until(
                    lambda worker=worker: shop.predict(1).json().get("prediction", worker) != worker,
                    30,
                    "the worker is replaced",
                )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
