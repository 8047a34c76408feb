"""Ports: a search for a free one, and a clear error where one is taken."""

import errno
import random
import socket
from pathlib import Path

EPHEMERAL_RANGE_PATH = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_PORT = 10_000  # the lowest that is tried for a free one


class PortTakenError(Exception):
    """A port that cannot be bound; the text names the setting to change."""


def read_ephemeral_range() -> range:
    """Return the ports that the system assigns to outgoing connections.

    Connecting to one of them before anybody listens may be assigned that very port, and then keeps it.
    """
    try:
        first, last = map(int, EPHEMERAL_RANGE_PATH.read_text().split())
    except (OSError, ValueError):
        first, last = 32768, 60999
    return range(first, last + 1)


def find_free_port() -> int:
    """Return a free TCP port of 127.0.0.1 outside the range of outgoing connections."""
    below = range(FIRST_PORT, max(FIRST_PORT, read_ephemeral_range().start))
    for port in [*random.sample(below, min(len(below), 100)), 0]:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(errno.EADDRINUSE, "no port is free")


def bind_socket(host: str, port: int, variable: str) -> socket.socket:
    """Return a socket bound there; `PortTakenError` names the `variable` that sets the port."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        what = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        hint = f"end what listens there, or choose another with {variable}"
        ephemeral = read_ephemeral_range()
        if port in ephemeral:
            hint += f", outside of {ephemeral.start} to {ephemeral.stop - 1}: outgoing connections get these"
        raise PortTakenError(f"port {port} on {host} {what}: {hint}") from error
    return bound
