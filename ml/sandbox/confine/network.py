"""The network of a process that may use some ports: only TCP, through the broker where possible."""

import os
import socket
from contextlib import suppress

from ml.sandbox.confine import connect_broker, dns_relay, kernel, landlock, seccomp


def restrict_network(
    reads: list[str],
    writes: list[str],
    ports: list[int],
    *,
    local_ports: list[int],
    sockets: list[str],
    counted: bool,
) -> None:
    """Go on in a child that is restricted to this; the parent stays, to connect for it."""
    landlock.restrict_self(reads, writes, None)  # the broker too; and the child can do it no harm
    kernel.prctl(kernel.SET_DUMPABLE, 0)  # until the command starts
    parent = os.getpid()
    ours, theirs = socket.socketpair()
    if child := os.fork():
        theirs.close()
        os._exit(connect_broker.serve_and_wait(child, ours, ports, local_ports, sockets))
    ours.close()
    kernel.die_with_parent(parent)
    has_broker = False
    with theirs, suppress(OSError):
        listener = seccomp.allow_only_tcp(notify=True, tcp=bool(ports), counted=counted)
        socket.send_fds(theirs, [b"."], [listener])
        os.close(listener)
        has_broker = True
    if not has_broker:
        seccomp.allow_only_tcp(notify=False, tcp=bool(ports), counted=counted)
    landlock.restrict_self(
        reads, writes, [] if has_broker or not ports else [*ports, *local_ports, dns_relay.PORT]
    )
