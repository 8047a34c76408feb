"""Connects to addresses that may be asked, and to no other, whatever a name is made to mean."""

from collections.abc import Iterable

import httpcore
from httpcore import SOCKET_OPTION

from ml.errors import Rejected
from ml.fetch.allowed import Allowed, parse, resolve


class Guard(httpcore.NetworkBackend):
    """Resolves a name once, checks all that it means, and connects to one of just these addresses.

    Whoever checks a name and lets another library connect to it asks the resolver twice, and may be
    told two things.
    """

    def __init__(self, allowed: Allowed) -> None:
        self.allowed, self.plain = allowed, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("it has no address")
        for address in self.checked(host, port):
            try:
                stream = self.plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return self.elsewhere(host, address, stream)
        raise failure

    def checked(self, host: str, port: int) -> list[str]:
        """All addresses of a host; one that may not be asked spoils the host."""
        try:
            addresses = resolve(host, port)
        except UnicodeError as error:
            raise Rejected(f"{host} is not the name of a host") from error
        except OSError as error:
            raise httpcore.ConnectError(f"it cannot be resolved: {error.strerror}") from error
        for address in addresses:
            if not self.allowed.admits(host, parse(address)):
                raise refused(host, address, "is not on the internet")
        return addresses

    def elsewhere(self, host: str, address: str, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """The stream, unless it ends on this very machine by one of its public addresses."""
        here, there = stream.get_extra_info("client_addr")[0], stream.get_extra_info("server_addr")[0]
        if here == there and not self.allowed.named(host, parse(address)):
            stream.close()
            raise refused(host, address, "is this machine")
        return stream


def refused(host: str, address: str, why: str) -> Rejected:
    named = host if host == address else f"{host} ({address})"
    return Rejected(
        f"data is not fetched from {named}, which {why}: if it is meant, the operator allows it with "
        "SLIPWAY_DATA_ALLOW"
    )
