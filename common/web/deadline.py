"""Connections with one deadline for all that is sent and read, however slowly it comes."""

import math
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore
from httpcore import SOCKET_OPTION


class Deadline:
    """A moment by which all is done; a wait beyond it is a timeout."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._until

    def end(self) -> None:
        """Limit nothing from now on: what had to be done is done."""
        self._until = math.inf

    def limit(self, timeout: float | None) -> float | None:
        if self.has_passed:
            raise httpcore.ReadTimeout
        left = self._until - time.monotonic()
        return min((limit for limit in (left, timeout) if limit not in (None, math.inf)), default=None)


class DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self.stream, self.deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.deadline.limit(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.deadline.limit(timeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secure = self.stream.start_tls(ssl_context, server_hostname, self.deadline.limit(timeout))
        return DeadlineStream(secure, self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class DeadlineBackend(httpcore.NetworkBackend):
    def __init__(self, deadline: Deadline) -> None:
        self.backend, self.deadline = httpcore.SyncBackend(), deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        limit = self.deadline.limit(timeout)
        stream = self.backend.connect_tcp(host, port, limit, local_address, socket_options)
        return DeadlineStream(stream, self.deadline)
