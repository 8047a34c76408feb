"""The connections to allowed addresses, and to no other, whatever a name resolves to."""

from collections.abc import Iterable

import httpcore
from httpcore import SOCKET_OPTION

from common.allowed_addresses import AddressPolicy, parse_address, resolve_host
from common.errors import RejectedError


class GuardedBackend(httpcore.NetworkBackend):
    """A network backend that resolves a name once, checks all addresses, and connects to one of these only.

    Code that checks a name and lets another library connect to it resolves it twice, and may get two answers.
    """

    def __init__(self, allowed: AddressPolicy) -> None:
        self.allowed, self.backend = allowed, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("it has no address")
        for address in self.resolve_allowed(host, port):
            try:
                stream = self.backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return self.check_not_local(host, address, stream)
        raise failure

    def resolve_allowed(self, host: str, port: int) -> list[str]:
        """Return all addresses of a host; one that is not allowed makes the host refused."""
        try:
            addresses = resolve_host(host, port)
        except UnicodeError as error:
            raise RejectedError(f"{host} is not the name of a host") from error
        except OSError as error:
            raise httpcore.ConnectError(f"it cannot be resolved: {error.strerror}") from error
        for address in addresses:
            if not self.allowed.is_allowed(host, parse_address(address)):
                raise to_refused_error(host, address, "is not on the internet")
        return addresses

    def check_not_local(
        self, host: str, address: str, stream: httpcore.NetworkStream
    ) -> httpcore.NetworkStream:
        """Return the stream, unless it ends on this very machine by one of its public addresses."""
        own_address, peer_address = (
            stream.get_extra_info("client_addr")[0],
            stream.get_extra_info("server_addr")[0],
        )
        if own_address == peer_address and not self.allowed.is_named(host, parse_address(address)):
            stream.close()
            raise to_refused_error(host, address, "is this machine")
        return stream


def to_refused_error(host: str, address: str, reason: str) -> RejectedError:
    host_text = host if host == address else f"{host} ({address})"
    return RejectedError(
        f"data is not fetched from {host_text}, which {reason}: if it is meant, "
        "the operator allows it with SLIPWAY_DATA_ALLOW"
    )
