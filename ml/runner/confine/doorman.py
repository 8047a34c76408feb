"""Connects and listens for a process that may not do so itself, and only where it may.

The process's connect() waits while the doorman, another process of the same user, reads the address once,
opens a connection of its own to it, and puts that in the place of the socket. So the address that was looked
at is the one that is connected to, whatever the process does meanwhile. Of the socket's options O_NONBLOCK
alone goes along. bind() is answered in the same way, and listen() on the doorman's own copy of what he has
bound: no call goes on after a look, as what was looked at may be another by then.
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
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from ml.fetch.allowed import NOT_PUBLIC, Address, meanings
from ml.runner.confine import names, seccomp
from ml.runner.confine.names import Conversation

# <linux/seccomp.h>: a question (id, process, call, arguments), the answer, a descriptor to put in a place
QUESTION, ANSWER, PLACE = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI"), struct.Struct("=QIIII")
RECEIVE, SEND, VALID, PUT = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
IN_PLACE = 1
LONGEST_NAME = 110  # bytes of a struct sockaddr
BOUND = 64  # sockets that are bound and do not listen, of which a copy is kept
LONGEST, PATIENT = 60.0, 1.0  # seconds for a connection; for one that the process would not wait for
AGAIN = 0.05  # seconds until a listener in the file system is tried again that has no room for one more
# What listens on addresses that are not of the link, and IPv6 that carries IPv4
METADATA = map(ip_network, ("100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::/32"))
FORBIDDEN = (*METADATA, *NOT_PUBLIC)


@dataclass(frozen=True)
class Asked:
    """A call that waits: its number, who called, and the socket's descriptor and flags there."""

    question: int
    process: int
    place: int
    flags: int


class Doorman:
    """`ports` may be connected to elsewhere, `here` also on this machine; names are asked of its servers.

    Of sockets in the file system those below the `folders` can be connected to.
    """

    def __init__(self, listener: int, ports: list[int], here: list[int], folders: list[str]) -> None:
        self.listener, self.ports, self.here, self.folders = listener, ports, here, folders
        self.servers: dict[str, str] = {}
        with suppress(OSError), open("/etc/resolv.conf") as file:  # noqa: PTH123
            self.servers = names.servers(file.read())
        self.poll = select.poll()
        self.opening: dict[int, tuple[Asked, socket.socket, float]] = {}
        self.crowded: list[tuple[Asked, int, float]] = []  # who waits for a listener, its place, until when
        self.bound: dict[int, socket.socket] = {}  # inode → our copy
        self.listening: set[int] = set()
        self.conversations: dict[int, Conversation] = {}

    def serve(self, process: int) -> None:
        """Until the process ends."""
        end = os.pidfd_open(process)
        for source in (end, self.listener):
            self.poll.register(source, select.POLLIN)
        while True:
            ready = dict(self.poll.poll(1000 * AGAIN if self.crowded else 500 if self.opening else None))
            if end in ready:
                return
            for number in [*self.opening]:
                if number in ready or time.monotonic() > self.opening[number][-1]:
                    self.opened(number)
            crowded, self.crowded = self.crowded, []
            for waiting in crowded:
                self.try_again(*waiting)
            for number in ready:
                if number in self.conversations:
                    self.step(self.conversations[number])
            if ready.get(self.listener, 0) & select.POLLIN:
                with suppress(OSError):  # whoever asked has been ended
                    self.ask()

    def ask(self) -> None:
        buffer = bytearray(QUESTION.size)
        fcntl.ioctl(self.listener, RECEIVE, buffer)
        question, process, _, call, _, _, place, at, size, *_ = QUESTION.unpack(buffer)
        place &= 0xFFFFFFFF
        try:
            asked = Asked(question, process, place, flags_of(process, place))
            if call == seccomp.call("listen"):
                self.listen(asked, at & 0xFFFFFFFF)
                return
            with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
                fcntl.ioctl(self.listener, VALID, struct.pack("=Q", question))  # it is still that process
                address = os.pread(memory.fileno(), min(size & 0xFFFFFFFF, LONGEST_NAME), at)
            kind = int.from_bytes(address[:2], "little")
            if call == seccomp.call("bind"):
                self.bind(asked, kind, address)
            elif kind == socket.AF_UNIX:
                self.reach(asked, path_of(address))
            elif kind in (socket.AF_INET, socket.AF_INET6):
                self.open(asked, *read(address))
            else:
                raise PermissionError(errno.EACCES, "closed")
        except (OSError, ValueError, OverflowError, struct.error) as error:
            self.answer(question, getattr(error, "errno", None) or errno.EINVAL)

    def reach(self, asked: Asked, path: bytes) -> None:
        """Connect to a socket in the file system; raises `OSError` where that may not be."""
        os.chdir(f"/proc/{asked.process}/cwd")
        found = os.open(path, os.O_PATH | os.O_CLOEXEC)
        real = os.readlink(f"/proc/self/fd/{found}")  # noqa: PTH115
        if any(real.startswith(folder + "/") for folder in self.folders):
            self.try_again(asked, found, time.monotonic() + LONGEST)
        else:
            os.close(found)
            raise PermissionError(errno.EACCES, "closed")

    def try_again(self, asked: Asked, found: int, until: float) -> None:
        """Connect to the socket that is open as `found`, now or later."""
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with mine, suppress(OSError):  # whoever asked has been ended
            failed = mine.connect_ex(f"/proc/self/fd/{found}")
            if failed == errno.EAGAIN and not asked.flags & os.O_NONBLOCK and time.monotonic() < until:
                self.crowded.append((asked, found, until))
                return
            if failed:
                self.answer(asked.question, failed)
            else:
                self.put(asked, mine)
        os.close(found)

    def bind(self, asked: Asked, kind: int, address: bytes) -> None:
        """Bind a socket of our own, and put it in the place of the process's; raises `OSError`."""
        mine = bound(kind, address, f"/proc/{asked.process}/cwd")
        with ExitStack() as on_failure:
            on_failure.callback(mine.close)
            self.put(asked, mine)
            if kind != socket.AF_NETLINK:
                self.bound[os.fstat(mine.fileno()).st_ino] = mine
                on_failure.pop_all()
        while len(self.bound) > BOUND:
            self.bound.pop(next(iter(self.bound))).close()

    def listen(self, asked: Asked, backlog: int) -> None:
        """Let what we have bound listen; a socket that is not bound would listen to everybody."""
        link = os.readlink(f"/proc/{asked.process}/fd/{asked.place}")  # noqa: PTH115
        inode = int(link.removeprefix("socket:[").removesuffix("]"))
        if (mine := self.bound.pop(inode, None)) is not None:
            with mine:
                mine.listen(min(backlog, socket.SOMAXCONN))
            self.listening.add(inode)
        elif inode not in self.listening:
            raise PermissionError(errno.EACCES, "closed")
        self.answer(asked.question)

    def open(self, asked: Asked, where: Address, port: int) -> None:
        """Begin to connect; raises `OSError` where that may not be."""
        if port == names.PORT and str(where) in self.servers:
            self.converse(asked, self.servers[str(where)])
            return
        if not self.admits(where, port):
            raise PermissionError(errno.EACCES, "closed")
        mine = socket.socket(family(where), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        mine.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed = mine.connect_ex((str(where), port))
        if failed not in (0, errno.EINPROGRESS):
            raise OSError(failed, "not connected")
        until = time.monotonic() + (PATIENT if asked.flags & os.O_NONBLOCK else LONGEST)
        self.opening[mine.fileno()] = asked, mine, until
        self.poll.register(mine, select.POLLOUT)

    def opened(self, number: int) -> None:
        """It is connected, or was refused, or takes too long: then who would not wait has it as it is."""
        asked, mine, until = self.opening.pop(number)
        self.poll.unregister(number)
        late = time.monotonic() > until
        with mine, suppress(OSError):  # whoever asked has been ended
            if failed := mine.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.answer(asked.question, failed)
            elif not late:
                self.put(asked, mine)
            elif asked.flags & os.O_NONBLOCK:
                self.put(asked, mine, errno.EINPROGRESS)
            else:
                self.answer(asked.question, errno.ETIMEDOUT)

    def put(self, asked: Asked, mine: socket.socket, said: int = 0) -> None:
        mine.setblocking(not asked.flags & os.O_NONBLOCK)
        placed = PLACE.pack(asked.question, IN_PLACE, mine.fileno(), asked.place, asked.flags & os.O_CLOEXEC)
        fcntl.ioctl(self.listener, PUT, placed)
        self.answer(asked.question, said)

    def answer(self, question: int, failed: int = 0, flags: int = 0) -> None:
        fcntl.ioctl(self.listener, SEND, ANSWER.pack(question, 0, -failed, flags))

    def converse(self, asked: Asked, server: str) -> None:
        made = Conversation(server)
        with made.theirs:
            self.put(asked, made.theirs)
        for end in (made.ours, made.asked):
            self.conversations[end.fileno()] = made
            self.poll.register(end, select.POLLIN)

    def step(self, conversation: Conversation) -> None:
        with suppress(OSError):
            if conversation.step():
                return
        for end in (conversation.ours, conversation.asked):
            self.poll.unregister(end)
            del self.conversations[end.fileno()]
        conversation.close()

    def admits(self, where: Address, port: int) -> bool:
        *carried, itself = meanings(where)
        if carried:
            return all(self.admits(each, port) for each in carried)
        if port in self.here:
            return not forbidden(itself)
        return port in self.ports and not (forbidden(itself) or itself.is_loopback or ours(itself))


def read(address: bytes) -> tuple[Address, int]:
    """Of a struct sockaddr of the internet."""
    (port,) = struct.unpack_from("!H", address, 2)
    if int.from_bytes(address[:2], "little") == socket.AF_INET:
        return IPv4Address(struct.unpack_from("4s", address, 4)[0]), port
    return IPv6Address(struct.unpack_from("16s", address, 8)[0]), port


def bound(kind: int, address: bytes, folder: str) -> socket.socket:
    """A socket of ours at an address that may be bound to; raises `OSError`. Paths may begin at `folder`."""
    if kind == socket.AF_NETLINK:  # asks the kernel for this machine's addresses
        where: Any = (0, 0)
    elif kind == socket.AF_UNIX:
        where = path_of(address)
        os.chdir(folder)
    elif kind in (socket.AF_INET, socket.AF_INET6):
        where = (str(loopback(*read(address))), 0)
    else:
        raise PermissionError(errno.EACCES, "closed")
    made = socket.socket(kind, socket.SOCK_RAW if kind == socket.AF_NETLINK else socket.SOCK_STREAM)
    try:
        made.bind(where)
    except BaseException:
        made.close()
        raise
    return made


def path_of(address: bytes) -> bytes:
    """Of a struct sockaddr_un; raises `PermissionError` for a name that is in no file system."""
    path = address[2:].split(b"\0")[0]
    if not path:
        raise PermissionError(errno.EACCES, "closed")
    return path


def loopback(where: Address, port: int) -> Address:
    """The address to bind to, which is this machine's alone; raises `PermissionError` for all others."""
    *carried, itself = meanings(where)
    if port == 0 and where.is_unspecified:
        return IPv4Address("127.0.0.1") if where.version == 4 else IPv6Address("::1")
    if port == 0 and all(each.is_loopback for each in carried or [itself]):
        return where
    raise PermissionError(errno.EACCES, "closed")


def family(where: Address) -> int:
    return socket.AF_INET if where.version == 4 else socket.AF_INET6


def forbidden(where: Address) -> bool:
    """Of the link and its metadata services, of many, of nobody, or a way around these."""
    known = any(where.version == network.version and where in network for network in FORBIDDEN)
    return known or where.is_link_local or where.is_multicast or where.is_unspecified or where.is_reserved


def ours(where: Address) -> bool:
    """Whether it is this machine's: no other can be bound to."""
    with socket.socket(family(where), socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.bind((str(where), 0))
        return True
    return False


def flags_of(process: int, place: int) -> int:
    """Of a descriptor, as open() knows them; raises `OSError` where there is none."""
    try:
        with open(f"/proc/{process}/fdinfo/{place}") as file:  # noqa: PTH123
            facts = dict(line.split(":", 1) for line in file if ":" in line)
    except FileNotFoundError as error:
        raise OSError(errno.EBADF, "closed meanwhile") from error
    return int(facts["flags"], 8)


def attend(process: int, line: socket.socket, ports: list[int], here: list[int], folders: list[str]) -> int:
    """Serve the process, which sends its listener on `line`; its exit code, 128 + n for signal n."""
    _, listeners, _, _ = socket.recv_fds(line, 1, 1)
    if listeners:
        Doorman(listeners[0], ports, here, folders).serve(process)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
