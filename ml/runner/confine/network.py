"""The network of a process that may use some ports: TCP alone, through the doorman where there can be one."""

import os
import socket
from contextlib import suppress

from ml.runner.confine import doorman, kernel, landlock, names, seccomp


def limit(
    reads: list[str],
    writes: list[str],
    ports: list[int],
    *,
    here: list[int],
    sockets: list[str],
    counted: bool,
) -> None:
    """Goes on in a child that can do no more than this; its parent stays, to connect for it."""
    landlock.restrict(reads, writes, None)  # the doorman too; and the child can do it no harm
    kernel.prctl(kernel.SET_DUMPABLE, 0)  # until the command begins
    parent = os.getpid()
    ours, theirs = socket.socketpair()
    if child := os.fork():
        theirs.close()
        os._exit(doorman.attend(child, ours, ports, here, sockets))
    ours.close()
    kernel.die_with(parent)
    asked = False
    with theirs, suppress(OSError):
        listener = seccomp.only_tcp(ask=True, tcp=bool(ports), counted=counted)
        socket.send_fds(theirs, [b"."], [listener])
        os.close(listener)
        asked = True
    if not asked:
        seccomp.only_tcp(ask=False, tcp=bool(ports), counted=counted)
    landlock.restrict(reads, writes, [] if asked or not ports else [*ports, *here, names.PORT])
