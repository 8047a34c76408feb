"""The broker that connects and listens for a sandboxed process, and only to allowed addresses.

The process's connect() waits while the broker, another process of the same user, reads the address once,
opens a connection of its own to it, and puts that in the place of the socket. So the address that was checked
is the one that is connected to, whatever the process does meanwhile. Of the socket's options only O_NONBLOCK
is copied. bind() is answered in the same way, and listen() on the broker's own copy of what it has bound: no
call continues after a check, as its arguments may have changed by then.
"""

import errno
import fcntl
import os
import select
import socket
import struct
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from common.allowed_addresses import IPAddress, expand_address
from ml.sandbox.confine import dns_relay, seccomp
from ml.sandbox.confine.dns_relay import DnsRelay
from ml.sandbox.confine.socket_addresses import (
    address_family,
    is_forbidden,
    is_own_address,
    open_bound,
    parse_address,
    parse_unix_path,
    read_flags,
)

# <linux/seccomp.h>: a notification (id, process, call, arguments), the reply, a descriptor to inject
NOTIFICATION, RESPONSE, ADD_FD = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI"), struct.Struct("=QIIII")
IOCTL_RECEIVE, IOCTL_SEND, IOCTL_ID_VALID, IOCTL_ADD_FD = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
REPLACE_FD = 1
MAX_ADDRESS_BYTES = 110  # bytes of a struct sockaddr
MAX_BOUND = 64  # sockets that are bound and do not listen, of which a copy is stored
# seconds for a connection; for one that the process would not wait for
CONNECT_SECONDS, NONBLOCKING_SECONDS = 60.0, 1.0
RETRY_SECONDS = 0.05  # seconds until a listener in the file system whose backlog is full is tried again


@dataclass(frozen=True)
class PendingCall:
    """A pending call: its notification id, its process, and the socket's descriptor and flags there."""

    notification_id: int
    pid: int
    descriptor: int
    flags: int


class ConnectBroker:
    """The broker of one process.

    TCP `ports` may be connected to on other machines, `local_ports` also on this one; DNS goes to this
    machine's servers. Of sockets in the file system those below the `folders` can be connected to.
    """

    def __init__(self, listener: int, ports: list[int], local_ports: list[int], folders: list[str]) -> None:
        self.listener, self.ports, self.local_ports, self.folders = listener, ports, local_ports, folders
        self.servers: dict[str, str] = {}
        with suppress(OSError), open("/etc/resolv.conf") as file:  # noqa: PTH123
            self.servers = dns_relay.parse_servers(file.read())
        self.poll = select.poll()
        self.connecting: dict[int, tuple[PendingCall, socket.socket, float]] = {}
        self.waiting: list[
            tuple[PendingCall, int, float]
        ] = []  # pending calls that wait for a listener, its descriptor, the deadline
        self.bound_sockets: dict[int, socket.socket] = {}  # inode → our copy
        self.listening: set[int] = set()
        self.relays: dict[int, DnsRelay] = {}

    def serve_until_exit(self, process: int) -> None:
        """Serve until the process ends."""
        exit_fd = os.pidfd_open(process)
        for source in (exit_fd, self.listener):
            self.poll.register(source, select.POLLIN)
        while True:
            ready = dict(
                self.poll.poll(1000 * RETRY_SECONDS if self.waiting else 500 if self.connecting else None)
            )
            if exit_fd in ready:
                return
            for number in [*self.connecting]:
                if number in ready or time.monotonic() > self.connecting[number][-1]:
                    self.finish_connect(number)
            retried, self.waiting = self.waiting, []
            for waiting in retried:
                self.retry_unix(*waiting)
            for number in ready:
                if number in self.relays:
                    self.step_relay(self.relays[number])
            if ready.get(self.listener, 0) & select.POLLIN:
                with suppress(OSError):  # the caller has been killed
                    self.handle_next()

    def handle_next(self) -> None:
        buffer = bytearray(NOTIFICATION.size)
        fcntl.ioctl(self.listener, IOCTL_RECEIVE, buffer)
        notification_id, process, _, call, _, _, descriptor, pointer, size, *_ = NOTIFICATION.unpack(buffer)
        descriptor &= 0xFFFFFFFF
        try:
            pending = PendingCall(notification_id, process, descriptor, read_flags(process, descriptor))
            if call == seccomp.call_number("listen"):
                self.listen_on(pending, pointer & 0xFFFFFFFF)
                return
            address = self.read_address(pending, pointer, size & 0xFFFFFFFF)
            kind = int.from_bytes(address[:2], "little")
            if call == seccomp.call_number("bind"):
                self.bind_socket(pending, kind, address)
            elif kind == socket.AF_UNIX:
                self.connect_unix(pending, parse_unix_path(address))
            elif kind in (socket.AF_INET, socket.AF_INET6):
                self.start_connect(pending, *parse_address(address))
            else:
                raise PermissionError(errno.EACCES, "closed")
        except (OSError, ValueError, OverflowError, struct.error) as error:
            self.send_reply(notification_id, getattr(error, "errno", None) or errno.EINVAL)

    def read_address(self, pending: PendingCall, pointer: int, size: int) -> bytes:
        """Read the address that the pending call passes, once."""
        with open(f"/proc/{pending.pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
            # it is still that process
            fcntl.ioctl(self.listener, IOCTL_ID_VALID, struct.pack("=Q", pending.notification_id))
            return os.pread(memory.fileno(), min(size, MAX_ADDRESS_BYTES), pointer)

    def connect_unix(self, pending: PendingCall, path: bytes) -> None:
        """Connect to a socket in the file system; raises `OSError` where that is not allowed."""
        os.chdir(f"/proc/{pending.pid}/cwd")
        path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        real = os.readlink(f"/proc/self/fd/{path_fd}")  # noqa: PTH115
        if any(real.startswith(folder + "/") for folder in self.folders):
            self.retry_unix(pending, path_fd, time.monotonic() + CONNECT_SECONDS)
        else:
            os.close(path_fd)
            raise PermissionError(errno.EACCES, "closed")

    def retry_unix(self, pending: PendingCall, found: int, until: float) -> None:
        """Connect to the socket that is open as `found`, now or later."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with connection, suppress(OSError):  # the caller has been killed
            failed = connection.connect_ex(f"/proc/self/fd/{found}")
            if failed == errno.EAGAIN and not pending.flags & os.O_NONBLOCK and time.monotonic() < until:
                self.waiting.append((pending, found, until))
                return
            if failed:
                self.send_reply(pending.notification_id, failed)
            else:
                self.inject_fd(pending, connection)
        os.close(found)

    def bind_socket(self, pending: PendingCall, kind: int, address: bytes) -> None:
        """Bind a socket of our own, and inject it in place of the process's; raises `OSError`."""
        bound = open_bound(kind, address, f"/proc/{pending.pid}/cwd")
        with ExitStack() as on_failure:
            on_failure.callback(bound.close)
            self.inject_fd(pending, bound)
            if kind != socket.AF_NETLINK:
                self.bound_sockets[os.fstat(bound.fileno()).st_ino] = bound
                on_failure.pop_all()
        while len(self.bound_sockets) > MAX_BOUND:
            self.bound_sockets.pop(next(iter(self.bound_sockets))).close()

    def listen_on(self, pending: PendingCall, backlog: int) -> None:
        """Let the socket that we have bound listen; one that is not bound would listen on all addresses."""
        link = os.readlink(f"/proc/{pending.pid}/fd/{pending.descriptor}")  # noqa: PTH115
        inode = int(link.removeprefix("socket:[").removesuffix("]"))
        if (bound := self.bound_sockets.pop(inode, None)) is not None:
            with bound:
                bound.listen(min(backlog, socket.SOMAXCONN))
            self.listening.add(inode)
        elif inode not in self.listening:
            raise PermissionError(errno.EACCES, "closed")
        self.send_reply(pending.notification_id)

    def start_connect(self, pending: PendingCall, where: IPAddress, port: int) -> None:
        """Start to connect; raises `OSError` where that is not allowed."""
        if port == dns_relay.PORT and str(where) in self.servers:
            self.start_relay(pending, self.servers[str(where)])
            return
        if not self.is_allowed(where, port):
            raise PermissionError(errno.EACCES, "closed")
        connection = socket.socket(address_family(where), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed = connection.connect_ex((str(where), port))
        if failed not in (0, errno.EINPROGRESS):
            raise OSError(failed, "not connected")
        deadline = time.monotonic() + (
            NONBLOCKING_SECONDS if pending.flags & os.O_NONBLOCK else CONNECT_SECONDS
        )
        self.connecting[connection.fileno()] = pending, connection, deadline
        self.poll.register(connection, select.POLLOUT)

    def finish_connect(self, number: int) -> None:
        """Complete a call whose connection is made, refused or late.

        A late one is injected as it is where the process does not wait.
        """
        pending, connection, until = self.connecting.pop(number)
        self.poll.unregister(number)
        is_late = time.monotonic() > until
        with connection, suppress(OSError):  # the caller has been killed
            if failed := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.send_reply(pending.notification_id, failed)
            elif not is_late:
                self.inject_fd(pending, connection)
            elif pending.flags & os.O_NONBLOCK:
                self.inject_fd(pending, connection, errno.EINPROGRESS)
            else:
                self.send_reply(pending.notification_id, errno.ETIMEDOUT)

    def inject_fd(self, pending: PendingCall, mine: socket.socket, error: int = 0) -> None:
        mine.setblocking(not pending.flags & os.O_NONBLOCK)
        request = ADD_FD.pack(
            pending.notification_id,
            REPLACE_FD,
            mine.fileno(),
            pending.descriptor,
            pending.flags & os.O_CLOEXEC,
        )
        fcntl.ioctl(self.listener, IOCTL_ADD_FD, request)
        self.send_reply(pending.notification_id, error)

    def send_reply(self, notification_id: int, failed: int = 0, flags: int = 0) -> None:
        fcntl.ioctl(self.listener, IOCTL_SEND, RESPONSE.pack(notification_id, 0, -failed, flags))

    def start_relay(self, pending: PendingCall, server: str) -> None:
        relay = DnsRelay(server)
        with relay.their_end:
            self.inject_fd(pending, relay.their_end)
        for end in (relay.our_end, relay.upstream):
            self.relays[end.fileno()] = relay
            self.poll.register(end, select.POLLIN)

    def step_relay(self, relay: DnsRelay) -> None:
        with suppress(OSError):
            if relay.relay_once():
                return
        for end in (relay.our_end, relay.upstream):
            self.poll.unregister(end)
            del self.relays[end.fileno()]
        relay.close()

    def is_allowed(self, where: IPAddress, port: int) -> bool:
        *carried, itself = expand_address(where)
        if carried:
            return all(self.is_allowed(each, port) for each in carried)
        if port in self.local_ports:
            return not is_forbidden(itself)
        return port in self.ports and not (
            is_forbidden(itself) or itself.is_loopback or is_own_address(itself)
        )


def serve_and_wait(
    process: int, line: socket.socket, ports: list[int], local_ports: list[int], folders: list[str]
) -> int:
    """Serve the process, which sends its listener on `line`; return its exit code, 128 + n for signal n."""
    _, listeners, _, _ = socket.recv_fds(line, 1, 1)
    if listeners:
        ConnectBroker(listeners[0], ports, local_ports, folders).serve_until_exit(process)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
