"""The limits on the connections of a service's clients."""

import resource
from collections.abc import Sequence
from dataclasses import dataclass

MAX_DESCRIPTORS = 65536
MAX_CONNECTIONS = 4096


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits on what clients may use of a service."""

    connections: int = MAX_CONNECTIONS
    header_seconds: float = 20  # in which a request's header has to be complete
    header_bytes: int = 64 << 10
    answer_seconds: float = 30  # in which a client has to have read all, or at least MIN_PROGRESS_BYTES
    proxies: Sequence[str] = ()  # addresses and networks that call for many clients

    @property
    def per_address(self) -> int:
        return max(1, self.connections // 2)


def raise_descriptor_limit() -> int:
    """Let this process open as many files as it may, within reason, and return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def make_connection_limits(proxies: Sequence[str]) -> ConnectionLimits:
    """Return the limits of this process: half of its files are reserved for workers, database and logs."""
    return ConnectionLimits(min(MAX_CONNECTIONS, raise_descriptor_limit() // 2), proxies=proxies)
