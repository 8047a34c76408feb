"""Ports: one that nobody has, and a clear word where one is taken."""

import errno
import random
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST = 10_000  # of those that are looked at for a free one


class PortTakenError(Exception):
    """Nobody else can listen there; says which setting to change."""


def ephemeral() -> range:
    """Return the ports that the system gives to outgoing connections.

    Who connects to one of them before anybody listens may be given that very port, and then keeps it.
    """
    try:
        first, last = map(int, RANGE.read_text().split())
    except (OSError, ValueError):
        first, last = 32768, 60999
    return range(first, last + 1)


def free() -> int:
    """Return a TCP port of 127.0.0.1 that nobody has just now, and that no outgoing connection is given."""
    below = range(FIRST, max(FIRST, ephemeral().start))
    for port in [*random.sample(below, min(len(below), 100)), 0]:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(errno.EADDRINUSE, "no port is free")


def bind(host: str, port: int, variable: str) -> socket.socket:
    """Return a socket that may listen there; `PortTakenError` names the `variable` that says where."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        what = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        cure = f"end what listens there, or choose another with {variable}"
        given = ephemeral()
        if port in given:
            cure += f", outside of {given.start} to {given.stop - 1}: the system gives these to others"
        raise PortTakenError(f"port {port} on {host} {what}: {cure}") from error
    return bound
