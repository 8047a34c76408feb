"""The HTTP server of services: limits on connections, headers, and clients that neither send nor read."""

import logging
import socket
import time
from asyncio import TimerHandle, Transport
from collections import Counter
from collections.abc import Iterator, MutableMapping
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import Any

import uvicorn
from loguru import logger
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from common.web.connection_limits import ConnectionLimits

KEEP_ALIVE_SECONDS = 75  # longer than clients keep a connection: it is they who close it
MIN_PROGRESS_BYTES = 16 << 10  # that a client has to read of a response in its time
MAX_WARNINGS = 10  # a minute, about clients' errors
ON_DISCONNECT_KEY = "slipway.abandon"  # in a request's scope: the callback for its disconnect, or None
HEADER_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


class WarningRateFilter(logging.Filter):
    """A filter that passes a few warnings a minute: clients that send garbage fill no disk."""

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


class ClientConnection(HttpToolsProtocol):
    """A client's connection of uvicorn that a `ConnectionGuard` checks periodically.

    Nothing is done for each request but counting the bytes of its header.
    """

    config: "ServerConfig"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = CLIENT_LOGGER
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
        scope: MutableMapping[str, Any] = {} if self.cycle is None else self.cycle.scope  # type: ignore[assignment]
        if (abandon := scope.get(ON_DISCONNECT_KEY)) is not None:
            abandon()

    def on_message_begin(self) -> None:
        self._header_bytes = 0
        HttpToolsProtocol.on_message_begin(self)  # `super()` takes longer

    def on_body(self, body: bytes) -> None:
        self._header_bytes = 0
        HttpToolsProtocol.on_body(self, body)

    def data_received(self, data: bytes) -> None:
        self._header_bytes += len(data)  # also of what follows a body; both callbacks above reset it
        HttpToolsProtocol.data_received(self, data)
        if self._header_bytes > self._max_header_bytes and not self.transport.is_closing():
            if not self.is_answering:
                self.transport.write(HEADER_TOO_LARGE)
            self.transport.close()

    @property
    def is_answering(self) -> bool:
        """Return whether a request is in progress, or its response is being sent."""
        working = self.cycle is not None and not self.cycle.response_complete
        return working or self.transport.get_write_buffer_size() > 0

    @property
    def is_receiving(self) -> bool:
        """Return whether the request in progress is still incomplete."""
        return self.cycle is not None and not self.cycle.response_complete and self.cycle.more_body

    def is_overdue(self, now: float) -> bool:
        """Return whether the client has neither sent the rest of a request nor read its response."""
        return self._is_unread(now) or self._is_unsent(now)

    def _is_unread(self, now: float) -> bool:
        size = self.transport.get_write_buffer_size()
        if size == 0:
            self._unread_since = None
            return False
        if self._unread_since is None or abs(size - self._unread_since[0]) >= MIN_PROGRESS_BYTES:
            self._unread_since = (size, now)
        return now - self._unread_since[1] > self.guard.limits.answer_seconds

    def _is_unsent(self, now: float) -> bool:
        # it is our turn; or uvicorn's timer's
        if self.is_answering or self.timeout_keep_alive_task is not None:
            self._waits_since = None
            return False
        if self._waits_since is None or self._waits_since[0] is not self.cycle:
            self._waits_since = (self.cycle, now)
        return now - self._waits_since[1] > self.guard.limits.header_seconds


class ConnectionGuard:
    """The connections of one server: not too many, and none that is overdue. It costs nothing when idle."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[ClientConnection, None] = {}  # the oldest first
        self._by_address: Counter[str] = Counter()
        self._proxies = [ip_network(place) for place in limits.proxies]
        self._timer: TimerHandle | None = None
        self._warned = float("-inf")
        # addresses, or None for all, without room at the last check
        self._full_addresses: set[str | None] = set()

    def add(self, connection: ClientConnection) -> None:
        self._open[connection] = None
        self._by_address[connection.address] += 1
        if len(self._open) > self.limits.connections:
            self._make_room(connection, None)
        elif self._has_too_many(connection):
            self._make_room(connection, connection.address)
        if self._timer is None:
            self._schedule_check(connection)

    def remove(self, connection: ClientConnection) -> None:
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def _has_too_many(self, connection: ClientConnection) -> bool:
        """Return whether a connection's address has more than its share; a proxy calls for many clients."""
        if self._by_address[connection.address] <= self.limits.per_address or not connection.address:
            return False
        address = ip_address(connection.address)
        return not any(address in network for network in self._proxies)

    def _make_room(self, new: ClientConnection, address: str | None) -> None:
        """Close the oldest that wait for their client, else the oldest that receive, else the new one."""
        if address in self._full_addresses:
            self._abort_all([new])
            return
        rivals = [one for one in self._open if one is not new and address in (None, one.address)]
        many = max(1, self.limits.connections // 50)  # at a time: in a flood this is no work for each
        chosen = list(islice(list_closable(rivals), many))
        if not chosen:
            self._full_addresses.add(address)
        self._abort_all(chosen or [new])
        if time.monotonic() - self._warned > 60:
            self._warned = time.monotonic()
            whose = f"of {address}" if address else "in all"
            logger.warning("{} connections {}: closing the oldest idle ones", len(rivals), whose)

    def _abort_all(self, connections: list[ClientConnection]) -> None:
        for connection in connections:
            self.remove(connection)
            connection.transport.abort()

    def _schedule_check(self, connection: ClientConnection) -> None:
        every = min(2.0, self.limits.header_seconds / 4, self.limits.answer_seconds / 4)
        self._timer = connection.loop.call_later(every, self._close_overdue)

    def _close_overdue(self) -> None:
        self._timer = None
        self._full_addresses.clear()
        self._abort_all([one for one in self._open if one.is_overdue(one.loop.time())])
        if self._open:
            self._schedule_check(next(iter(self._open)))


def list_closable(connections: list[ClientConnection]) -> Iterator[ClientConnection]:
    """Return the connections that may be closed before others."""
    waiting = [connection for connection in connections if not connection.is_answering]
    return iter(waiting or [connection for connection in connections if connection.is_receiving])


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, with the settings that both services share."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, limits: ConnectionLimits, grace: int) -> None:
        super().__init__(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http=ClientConnection,
            ws="none",
            interface="asgi3",  # it would look for a coroutine, which `HostCheckMiddleware` saves
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # the apps do so, where it matters
            backlog=min(2048, limits.connections),
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=grace,
        )
        self.guard = ConnectionGuard(limits)


CLIENT_LOGGER = logging.getLogger("uvicorn.error.clients")
CLIENT_LOGGER.addFilter(WarningRateFilter())
