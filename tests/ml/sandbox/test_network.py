"""What a training can connect to: TCP, on the ports it may use, of other machines; names can be looked up."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from ml.sandbox import local_process
from ml.sandbox.confine import dns_relay, landlock, seccomp
from ml.sandbox.confine.connect_broker import ConnectBroker
from ml.sandbox.sandbox import Sandbox
from tests.ml.sandbox.test_hostile import bare_environment  # noqa: F401

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, bare_environment: Path) -> Run:  # noqa: F811
    """Runs code that prints JSON as a training is run, `here` being ports of this machine that it may use."""
    if not seccomp.can_notify() or landlock.abi_version() < 4:
        pytest.skip("Linux is older than 6.7, or has no seccomp that asks")

    def run(code: str, *, ports: tuple[int, ...] = (443,), here: tuple[int, ...] = ()) -> Any:
        source = tmp_path / "source"
        source.mkdir()
        (source / "code.py").write_text("import json, os, socket, sys, threading\n" + dedent(code))
        held = Sandbox(tmp_path.resolve(), "one", None, 1 << 30, 1 << 30, 600, ports)
        process = local_process.start_process(
            [bare_environment / "bin/python", "-u", "code.py"],
            sandbox=held,
            cwd=source,
            log=tmp_path / "log",
            scratch=tmp_path / "scratch",
            ports=ports,
            local_ports=here,
            environment=bare_environment,
        )
        code = process.wait(60)
        process.kill()
        assert code == 0, (tmp_path / "log").read_text()
        return json.loads((tmp_path / "log").read_text())

    return run


class Greeter:
    """Listens on this machine, greets whoever connects, and counts them."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self.listener.getsockname()[1]
        self.visits = 0
        threading.Thread(target=self.greet, daemon=True).start()

    def greet(self) -> None:
        with suppress(OSError):  # closed
            while True:
                visitor, _ = self.listener.accept()
                self.visits += 1
                with visitor, suppress(OSError):
                    visitor.sendall(b"welcome")

    def close(self) -> None:
        with suppress(OSError):  # closed already
            self.listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self.listener.close()


@pytest.fixture
def greeters() -> Iterator[tuple[Greeter, Greeter]]:
    made = Greeter(), Greeter()
    yield made
    for greeter in made:
        greeter.close()


REFUSED = """
    refused, reached = [], []
    def look(name, function):
        try:
            reached.append([name, repr(function())])
        except OSError as error:
            refused.append(error.errno)
    def connect(address, port, family=socket.AF_INET):
        with socket.socket(family) as made:
            made.settimeout(5)
            made.connect((address, port))
    for address in ("127.0.0.1", "127.1.2.3", "0.0.0.0", "169.254.169.254", "168.63.129.16", "224.0.0.1"):
        look(address, lambda: connect(address, PORT))
        mapped = "::ffff:" + address
        look(mapped, lambda: connect(mapped, PORT, socket.AF_INET6))
    for address in ("::1", "::", "fd00:ec2::254", "fe80::1", "64:ff9b::a9fe:a9fe", "::127.0.0.1"):
        look(address, lambda: connect(address, PORT, socket.AF_INET6))
    look("another port", lambda: connect("203.0.113.1", 5432))
    look("UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)))
    look("UDP6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    look("MPTCP", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(("127.0.0.1", PORT)))
    look("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
    look("the hypervisor", lambda: socket.socket(40, socket.SOCK_STREAM))
    look("fast open", lambda: socket.socket().sendto(b"x", 0x20000000, ("127.0.0.1", PORT)))
    look("fast open", lambda: socket.socket().sendmsg([b"x"], [], 0x20000000, ("127.0.0.1", PORT)))
    import ctypes
    ring = ctypes.CDLL(None, use_errno=True).syscall(425, 8, (ctypes.c_char * 120)())
    look("io_uring", lambda: ring if ring >= 0 else os.open("/no/ring", 0))
    print(json.dumps([reached, refused]))
"""


def test_this_machine_and_metadata_services_are_unreachable(
    run: Run, greeters: tuple[Greeter, Greeter]
) -> None:
    greeter, _ = greeters
    reached, refused = run(REFUSED.replace("PORT", str(greeter.port)), ports=(443, greeter.port))

    assert (reached, greeter.visits) == ([], 0)
    assert len(refused) == 27


ALLOWED = """
    import asyncio, multiprocessing
    def blocking():
        with socket.create_connection(("127.0.0.1", PORT)) as made:
            return made.recv(100).decode()
    async def waiting():
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        return (await reader.read()).decode()
    async def many():
        return await asyncio.gather(*(waiting() for _ in range(50)))
    def refused():
        try:
            socket.create_connection(("127.0.0.1", NOBODY))
        except ConnectionRefusedError:
            return "refused"
    said = [blocking(), refused(), *asyncio.run(many())]
    with multiprocessing.Pool(2) as pool:
        said += pool.map(int, "12")
    print(json.dumps(said))
"""


def test_what_may_be_reached_is_reached_as_without_a_sandbox(
    run: Run, greeters: tuple[Greeter, Greeter]
) -> None:
    greeter, other = greeters
    other.close()
    code = ALLOWED.replace("PORT", str(greeter.port)).replace("NOBODY", str(other.port))
    said = run(code, here=(greeter.port, other.port))

    assert said == ["welcome", "refused", *["welcome"] * 50, 1, 2]


SILENT = """
    made = socket.socket()
    made.settimeout(2)
    try:
        made.connect(("127.0.0.1", PORT))
    except OSError as error:
        print(json.dumps([type(error).__name__, error.errno]))
"""


def test_an_unanswered_connection_ends_when_the_program_says(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as waiting:
        waiting.connect(full.getsockname())  # and nobody accepts it: there is no room for another
        said = run(SILENT.replace("PORT", str(full.getsockname()[1])), here=(full.getsockname()[1],))

    assert said == ["TimeoutError", None], "Python's own time limit, not the doorman's"


CHEAT = """
    import ctypes, random, struct, time
    libc = ctypes.CDLL(None, use_errno=True)
    def named(port):
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1"))
    address = ctypes.create_string_buffer(named(GOOD), 16)
    def flip():
        while True:
            ctypes.memmove(address, named(BAD), 16)
            ctypes.memmove(address, named(GOOD), 16)
    sys.setswitchinterval(1e-5)
    threading.Thread(target=flip, daemon=True).start()
    ended = []
    until = time.monotonic() + 20
    while len(ended) < 300 or len(set(ended)) < 2 and time.monotonic() < until:
        with socket.socket() as made:
            ended.append(libc.connect(made.fileno(), address, 16))
        time.sleep(random.random() / 5000)
    print(json.dumps([ended.count(0), ended.count(-1)]), flush=True)
    os._exit(0)
"""


def test_an_address_that_changes_is_connected_to_as_it_was_seen(
    run: Run, greeters: tuple[Greeter, Greeter]
) -> None:
    good, bad = greeters
    reached, refused = run(
        CHEAT.replace("GOOD", str(good.port)).replace("BAD", str(bad.port)), here=(good.port,)
    )
    assert reached + refused >= 300
    assert min(reached, refused) > 0
    assert bad.visits == 0


@pytest.mark.parametrize(
    ("address", "port", "admitted"),
    [
        ("93.184.216.34", 443, True),
        ("93.184.216.34", 80, False),
        ("10.1.2.3", 443, True),  # another machine of the network
        ("10.1.2.3", 8080, True),  # the operator's proxy
        ("127.0.0.1", 8080, True),
        ("127.0.0.1", 443, False),
        ("169.254.169.254", 8080, False),
        ("2606:2800:220:1::1", 443, True),
        ("2002:a9fe:a9fe::", 443, False),
    ],
)
def test_where_a_training_may_connect_to(address: str, port: int, admitted: bool) -> None:
    reader, writer = os.pipe()
    assert ConnectBroker(reader, [443], [8080], []).is_allowed(ip_address(address), port) is admitted
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("# none\nsearch lan\n", {"127.0.0.1": "127.0.0.1"}),
        (
            "nameserver 10.0.0.1\nnameserver\tfe80::1%eth0\noptions edns0\n",
            {"10.0.0.1": "10.0.0.1", "fe80::1": "fe80::1%eth0"},
        ),
    ],
)
def test_servers_of_names_are_those_of_the_machine(text: str, servers: dict[str, str]) -> None:
    assert dns_relay.parse_servers(text) == servers


def test_names_are_asked_by_udp_for_a_process_that_has_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        held = dns_relay.DnsRelay(*server.getsockname())
        with held.their_end as process:
            process.sendall(b"\0\x03one\0\x03t")  # the second question in two parts
            assert held.relay_once()
            question, asker = server.recvfrom(100)
            process.sendall(b"wo")
            assert held.relay_once()
            assert (question, server.recv(100)) == (b"one", b"two")
            server.sendto(b"an answer", asker)
            assert held.relay_once()
            assert process.recv(100) == b"\0\x09an answer"
        assert not held.relay_once()
        held.close()
