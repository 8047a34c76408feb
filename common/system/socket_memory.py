"""Data queued in sockets, which is memory that no process has mapped. Standard library only."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/unix_diag.h>
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, NLMSG_DONE, NLMSG_ERROR = 4, 20, 0x301, 3, 2
HEADER, REQUEST, RESPONSE, ATTRIBUTE = (
    struct.Struct(form) for form in ("=IHHII", "=BBHIIIII", "=BBBBIII", "=HH")
)
PEER_ATTRIBUTE, LENGTHS_ATTRIBUTE, UID_ATTRIBUTE = 2, 4, 7
SHOW_FLAGS = 4 | 0x10 | 0x40  # the three above
TCP_LISTEN = "0A"
MAX_SOCKETS_IN_FLIGHT = 4096  # sockets in messages; the kernel allows a user as many as one process may open
# memory of a message with one byte, and of the largest
MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES = 1024, 1 << 17


def max_queued_bytes(sockets: int) -> int:
    """Return an upper bound of the bytes queued in so many sockets of a tree, and in sockets in flight."""
    return sockets * max_tcp_bytes() + (MAX_SOCKETS_IN_FLIGHT * max_unix_bytes() if sockets > 1 else 0)


def count_queued_bytes(tree: set[int], others: set[int], user: int) -> int:
    """Return the bytes in a tree's sockets, and in its user's unowned ones: those in flight in a message."""
    found = count_tcp_bytes(tree)
    try:
        rows = list(list_unix_sockets())
    except OSError:  # a kernel may be built without: then each counts as full
        return found + len(tree) * max_unix_bytes()
    there = {inode for inode, *_ in rows}
    for inode, peer, reading, writing, owner in rows:
        if inode in tree or (owner == user and inode not in others):
            # sent bytes count for the sending socket while it exists
            found += writing or (
                min(reading * MIN_MESSAGE_BYTES, max_unix_bytes()) if peer not in there else 0
            )
    return found


def count_tcp_bytes(tree: set[int]) -> int:
    """Return the bytes of TCP. An unaccepted connection has no inode, and the port of its listener."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in read_lines(f"/proc/net/{name}")]
    rows = [row for row in rows if len(row) > 9 and row[9].isdigit()]
    ports = {local_port(row) for row in rows if row[3] == TCP_LISTEN and int(row[9]) in tree}
    waiting = [row for row in rows if row[9] == "0" and row[3] != TCP_LISTEN and local_port(row) in ports]
    theirs = [row for row in rows if row[3] != TCP_LISTEN and int(row[9]) in tree]
    return sum(int(part, 16) for row in theirs + waiting for part in row[4].split(":"))


def local_port(row: list[str]) -> str:
    return row[1].rpartition(":")[2]


def list_unix_sockets() -> Iterator[tuple[int, int, int, int, int]]:
    """Yield each Unix socket: inode, peer's inode, bytes to be read, bytes sent, uid."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        request = REQUEST.pack(socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, SHOW_FLAGS, 0xFFFFFFFF, 0xFFFFFFFF)
        kernel.send(
            HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, 1, 0) + request
        )
        while True:
            data = kernel.recv(1 << 18)
            while len(data) >= HEADER.size:
                length, kind, *_ = HEADER.unpack_from(data)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", data, HEADER.size)[0], "sock_diag")
                yield parse_socket(data[HEADER.size : length])
                data = data[(length + 3) & ~3 :]


def parse_socket(message: bytes) -> tuple[int, int, int, int, int]:
    inode = RESPONSE.unpack_from(message)[4]
    attributes: dict[int, bytes] = {}
    rest = message[RESPONSE.size :]
    while len(rest) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(rest)
        attributes[kind] = rest[ATTRIBUTE.size : length]
        rest = rest[max(4, (length + 3) & ~3) :]
    reading, writing = struct.unpack("=II", attributes.get(LENGTHS_ATTRIBUTE, bytes(8)))
    peer, user = (
        int.from_bytes(attributes.get(kind, b"\0"), "little") for kind in (PEER_ATTRIBUTE, UID_ATTRIBUTE)
    )
    return inode, peer, reading, writing, user


def max_unix_bytes() -> int:
    """Return the most bytes that can queue in one Unix socket."""
    return read_setting("core/wmem_default") + MAX_MESSAGE_BYTES


def max_tcp_bytes() -> int:
    """Return the most bytes that can queue in one TCP socket."""
    return max(read_setting("ipv4/tcp_wmem") + read_setting("ipv4/tcp_rmem"), max_unix_bytes())


def read_setting(name: str) -> int:
    """Return the last number of a kernel network setting; a usual value where it cannot be read."""
    fields = [line.split() for line in read_lines(f"/proc/sys/net/{name}")]
    return int(fields[0][-1]) if fields else 6 << 20


def read_lines(path: str) -> list[str]:
    with suppress(OSError), open(path) as file:  # noqa: PTH123
        return file.readlines()
    return []
