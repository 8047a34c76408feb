"""Connects for a process that may not do so itself, and only to where it may go.

The process's connect() waits while the doorman, another process of the same user, reads the address once,
opens a connection of its own to it, and puts that in the place of the socket. So the address that was looked
at is the one that is connected to, whatever the process does meanwhile. Of the socket's options O_NONBLOCK
alone goes along. Itself the process can connect to nothing, where the kernel has Landlock 4.
"""

import errno
import fcntl
import os
import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network

from ml.fetch.allowed import NOT_PUBLIC, Address, meanings
from ml.runner.confine import names
from ml.runner.confine.names import Conversation

# <linux/seccomp.h>: a question (id, process, call, arguments), the answer, a descriptor to put in a place
QUESTION, ANSWER, PLACE = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI"), struct.Struct("=QIIII")
RECEIVE, SEND, VALID, PUT = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
CONTINUE, IN_PLACE = 1, 1
LONGEST, PATIENT = 60.0, 1.0  # seconds for a connection; for one that the process would not wait for
# What listens on addresses that are not of the link, and IPv6 that carries IPv4
METADATA = map(ip_network, ("100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::/32"))
FORBIDDEN = (*METADATA, *NOT_PUBLIC)


@dataclass(frozen=True)
class Asked:
    """A connect() that waits: its number, and the socket's descriptor and flags there."""

    question: int
    place: int
    flags: int


class Doorman:
    """`ports` may be connected to elsewhere, `here` also on this machine; names are asked of its servers."""

    def __init__(self, listener: int, ports: list[int], here: list[int]) -> None:
        self.listener, self.ports, self.here = listener, ports, here
        self.servers: dict[str, str] = {}
        with suppress(OSError), open("/etc/resolv.conf") as file:  # noqa: PTH123
            self.servers = names.servers(file.read())
        self.poll = select.poll()
        self.opening: dict[int, tuple[Asked, socket.socket, float]] = {}
        self.conversations: dict[int, Conversation] = {}

    def serve(self, process: int) -> None:
        """Until the process ends."""
        end = os.pidfd_open(process)
        for source in (end, self.listener):
            self.poll.register(source, select.POLLIN)
        while True:
            ready = dict(self.poll.poll(500 if self.opening else None))
            if end in ready:
                return
            for number in [*self.opening]:
                if number in ready or time.monotonic() > self.opening[number][-1]:
                    self.opened(number)
            for number in ready:
                if number in self.conversations:
                    self.step(self.conversations[number])
            if ready.get(self.listener, 0) & select.POLLIN:
                with suppress(OSError):  # whoever asked has been ended
                    self.ask()

    def ask(self) -> None:
        buffer = bytearray(QUESTION.size)
        fcntl.ioctl(self.listener, RECEIVE, buffer)
        question, process, _, _, _, _, place, at, size, *_ = QUESTION.unpack(buffer)
        place &= 0xFFFFFFFF
        try:
            with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
                fcntl.ioctl(self.listener, VALID, struct.pack("=Q", question))  # it is still that process
                address = os.pread(memory.fileno(), min(size & 0xFFFFFFFF, 28), at)
            if int.from_bytes(address[:2], "little") not in (socket.AF_INET, socket.AF_INET6):
                self.answer(question, flags=CONTINUE)  # to what is no network
            else:
                self.open(Asked(question, place, flags_of(process, place)), *read(address))
        except (OSError, ValueError, OverflowError, struct.error) as error:
            self.answer(question, getattr(error, "errno", None) or errno.EINVAL)

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
    """Of a descriptor, as open() knows them."""
    with open(f"/proc/{process}/fdinfo/{place}") as file:  # noqa: PTH123
        facts = dict(line.split(":", 1) for line in file if ":" in line)
    return int(facts["flags"], 8)


def attend(process: int, line: socket.socket, ports: list[int], here: list[int]) -> int:
    """Serve the process, which sends its listener on `line`; its exit code, 128 + n for signal n."""
    _, listeners, _, _ = socket.recv_fds(line, 1, 1)
    if listeners:
        Doorman(listeners[0], ports, here).serve(process)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
