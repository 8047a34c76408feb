"""Ports: whether one can be had, and one that nobody has."""

import errno
import socket

from cli.errors import Trouble


def free() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check(host: str, port: int, variable: str) -> None:
    """`Trouble` that names the port and the `variable` it comes from, when nobody could listen on it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the services do
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            what = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
            cure = f"end what listens there, or choose another with {variable}"
            raise Trouble(f"port {port} on {host} {what}: {cure}") from error
