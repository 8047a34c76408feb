"""How services listen: with bounds on connections, headers, and clients that neither send nor read."""

import logging
import resource
import socket
import time
from asyncio import TimerHandle, Transport
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import Any

import uvicorn
from loguru import logger
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_DESCRIPTORS = 65536
MAX_CONNECTIONS = 4096
KEEP_ALIVE_SECONDS = 75  # longer than clients keep a connection: it is they who close it
PROGRESS_BYTES = 16 << 10  # what a client has to take of an answer in the time that it has
MAX_WARNINGS = 10  # a minute, of what clients do wrong
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True)
class Limits:
    """What clients may take of a service."""

    connections: int = MAX_CONNECTIONS
    header_seconds: float = 20  # in which a request has to have come as far as its body
    header_bytes: int = 64 << 10
    answer_seconds: float = 30  # in which a client has to have read, or at least PROGRESS_BYTES
    proxies: Sequence[str] = ()  # addresses and networks of those who call for many

    @property
    def of_one_address(self) -> int:
        return max(1, self.connections // 2)


def raise_descriptors() -> int:
    """Let this process open as many files as it may, within reason, and return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def limit_clients(proxies: Sequence[str]) -> Limits:
    """Return the limits of this process: half of its files stay for workers, database and logs."""
    return Limits(min(MAX_CONNECTIONS, raise_descriptors() // 2), proxies=proxies)


class FewWarnings(logging.Filter):
    """Lets through a few warnings a minute: whoever sends garbage fills no disk."""

    def __init__(self) -> None:
        super().__init__()
        self._minute, self._count = 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        minute = int(record.created // 60)
        self._count = self._count + 1 if minute == self._minute else 1
        self._minute = minute
        return self._count <= MAX_WARNINGS


class Connection(HttpToolsProtocol):
    """A client's connection, as uvicorn has it, that a `Guard` looks at now and then.

    Nothing is done for each request but counting the bytes of its header.
    """

    config: "Config"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = CLIENTS
        self.guard = self.config.guard
        self.address = ""
        self._header_bytes, self._max_header_bytes = 0, self.guard.limits.header_bytes
        self._waits_since: tuple[object, float] | None = None  # with the last request that was complete
        self._unread_since: tuple[int, float] | None = None  # with how much there was to be read

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._waits_since = (None, self.loop.time())
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            milliseconds = int(self.guard.limits.answer_seconds * 1000)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        self.guard.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.remove(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._header_bytes = 0
        HttpToolsProtocol.on_message_begin(self)  # `super()` takes longer

    def on_body(self, body: bytes) -> None:
        self._header_bytes = 0
        HttpToolsProtocol.on_body(self, body)

    def data_received(self, data: bytes) -> None:
        self._header_bytes += len(data)  # also of what follows a body; both callbacks above begin it anew
        HttpToolsProtocol.data_received(self, data)
        if self._header_bytes > self._max_header_bytes and not self.transport.is_closing():
            if not self.is_answering:
                self.transport.write(TOO_LARGE)
            self.transport.close()

    @property
    def is_answering(self) -> bool:
        """Whether a request is being worked on, or its answer is on the way."""
        working = self.cycle is not None and not self.cycle.response_complete
        return working or self.transport.get_write_buffer_size() > 0

    @property
    def is_receiving(self) -> bool:
        """Whether the request that is worked on has not come to its end."""
        return self.cycle is not None and not self.cycle.response_complete and self.cycle.more_body

    def is_overdue(self, now: float) -> bool:
        """Return whether the client has neither sent what it has begun nor read what it has asked for."""
        return self._is_unread(now) or self._is_unsent(now)

    def _is_unread(self, now: float) -> bool:
        size = self.transport.get_write_buffer_size()
        if size == 0:
            self._unread_since = None
            return False
        if self._unread_since is None or abs(size - self._unread_since[0]) >= PROGRESS_BYTES:
            self._unread_since = (size, now)
        return now - self._unread_since[1] > self.guard.limits.answer_seconds

    def _is_unsent(self, now: float) -> bool:
        if (
            self.is_answering or self.timeout_keep_alive_task is not None
        ):  # it is our turn; or uvicorn's timer's
            self._waits_since = None
            return False
        if self._waits_since is None or self._waits_since[0] is not self.cycle:
            self._waits_since = (self.cycle, now)
        return now - self._waits_since[1] > self.guard.limits.header_seconds


class Guard:
    """The connections of one server: not too many, and none that is overdue. At rest it does nothing."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[Connection, None] = {}  # the oldest first
        self._by_address: Counter[str] = Counter()
        self._proxies = [ip_network(place) for place in limits.proxies]
        self._timer: TimerHandle | None = None
        self._warned = float("-inf")
        self._full: set[str | None] = set()  # addresses, or None for all, that had no room at the last look

    def add(self, connection: Connection) -> None:
        self._open[connection] = None
        self._by_address[connection.address] += 1
        if len(self._open) > self.limits.connections:
            self._make_room(connection, None)
        elif self._has_too_many(connection):
            self._make_room(connection, connection.address)
        if self._timer is None:
            self._look_later(connection)

    def remove(self, connection: Connection) -> None:
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def _has_too_many(self, connection: Connection) -> bool:
        """Return whether the address of this connection has more than its share; a proxy calls for many."""
        if self._by_address[connection.address] <= self.limits.of_one_address or not connection.address:
            return False
        address = ip_address(connection.address)
        return not any(address in network for network in self._proxies)

    def _make_room(self, new: Connection, address: str | None) -> None:
        """Close the oldest that wait for their client, else the oldest that receive, else the new one."""
        if address in self._full:
            self._close([new])
            return
        rivals = [one for one in self._open if one is not new and address in (None, one.address)]
        many = max(1, self.limits.connections // 50)  # at a time: with a flood this is no work for each
        chosen = list(islice(oldest(rivals), many))
        if not chosen:
            self._full.add(address)
        self._close(chosen or [new])
        if time.monotonic() - self._warned > 60:
            self._warned = time.monotonic()
            whose = f"of {address}" if address else "in all"
            logger.warning("{} connections {}: the oldest that do nothing are closed", len(rivals), whose)

    def _close(self, connections: list[Connection]) -> None:
        for connection in connections:
            self.remove(connection)
            connection.transport.abort()

    def _look_later(self, connection: Connection) -> None:
        every = min(2.0, self.limits.header_seconds / 4, self.limits.answer_seconds / 4)
        self._timer = connection.loop.call_later(every, self._look)

    def _look(self) -> None:
        self._timer = None
        self._full.clear()
        self._close([one for one in self._open if one.is_overdue(one.loop.time())])
        if self._open:
            self._look_later(next(iter(self._open)))


def oldest(connections: list[Connection]) -> Iterator[Connection]:
    """Return those that may be closed before others."""
    waiting = [connection for connection in connections if not connection.is_answering]
    return iter(waiting or [connection for connection in connections if connection.is_receiving])


class Config(uvicorn.Config):
    """uvicorn's, with what both services have in common."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, limits: Limits, grace: int) -> None:
        super().__init__(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http=Connection,
            ws="none",
            interface="asgi3",  # it would look for a coroutine, which `HostCheck` saves
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # by the apps, where it matters
            backlog=min(2048, limits.connections),
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=grace,
        )
        self.guard = Guard(limits)


CLIENTS = logging.getLogger("uvicorn.error.clients")
CLIENTS.addFilter(FewWarnings())
