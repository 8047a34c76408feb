"""What waits in sockets, which is memory that no process has mapped. Standard library only."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/unix_diag.h>
DIAGNOSIS, BY_FAMILY, REQUEST_ALL, DONE, FAILED = 4, 20, 0x301, 3, 2
HEADER, QUESTION, ANSWER, ATTRIBUTE = (
    struct.Struct(form) for form in ("=IHHII", "=BBHIIIII", "=BBBBIII", "=HH")
)
PEER, LENGTHS, USER = 2, 4, 7
SHOW = 4 | 0x10 | 0x40  # these three
LISTENS = "0A"
ON_THEIR_WAY = 4096  # sockets in messages; the kernel allows a user as many as one process may open
SMALLEST, LARGEST = 1024, 1 << 17  # bytes that a message takes which holds one, and one that holds most


def bound(sockets: int) -> int:
    """More than there can be in so many sockets of a tree, and in those that are on their way between two."""
    return sockets * of_stream() + (ON_THEIR_WAY * of_pair() if sockets > 1 else 0)


def held(tree: set[int], others: set[int], user: int) -> int:
    """Bytes in a tree's sockets, and in those of its user that nobody has, on their way in a message."""
    found = in_streams(tree)
    try:
        rows = list(local())
    except OSError:  # a kernel may be made without: then each is taken for full
        return found + len(tree) * of_pair()
    there = {inode for inode, *_ in rows}
    for inode, peer, reading, writing, owner in rows:
        if inode in tree or (owner == user and inode not in others):
            # what a socket has sent is its own while it is there
            found += writing or (min(reading * SMALLEST, of_pair()) if peer not in there else 0)
    return found


def in_streams(tree: set[int]) -> int:
    """Of TCP. What nobody has accepted yet has no number, and the port of who listens."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in lines(f"/proc/net/{name}")]
    rows = [row for row in rows if len(row) > 9 and row[9].isdigit()]
    ports = {port(row) for row in rows if row[3] == LISTENS and int(row[9]) in tree}
    waiting = [row for row in rows if row[9] == "0" and row[3] != LISTENS and port(row) in ports]
    theirs = [row for row in rows if row[3] != LISTENS and int(row[9]) in tree]
    return sum(int(part, 16) for row in theirs + waiting for part in row[4].split(":"))


def port(row: list[str]) -> str:
    return row[1].rpartition(":")[2]


def local() -> Iterator[tuple[int, int, int, int, int]]:
    """Each socket of this machine's own: its number, its peer's, bytes to be read, bytes sent, its user."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, DIAGNOSIS) as kernel:
        question = QUESTION.pack(socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, SHOW, 0xFFFFFFFF, 0xFFFFFFFF)
        kernel.send(HEADER.pack(HEADER.size + len(question), BY_FAMILY, REQUEST_ALL, 1, 0) + question)
        while True:
            heard = kernel.recv(1 << 18)
            while len(heard) >= HEADER.size:
                length, kind, *_ = HEADER.unpack_from(heard)
                if kind == DONE:
                    return
                if kind == FAILED:
                    raise OSError(-struct.unpack_from("=i", heard, HEADER.size)[0], "sock_diag")
                yield row(heard[HEADER.size : length])
                heard = heard[(length + 3) & ~3 :]


def row(message: bytes) -> tuple[int, int, int, int, int]:
    inode = ANSWER.unpack_from(message)[4]
    told: dict[int, bytes] = {}
    rest = message[ANSWER.size :]
    while len(rest) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(rest)
        told[kind] = rest[ATTRIBUTE.size : length]
        rest = rest[max(4, (length + 3) & ~3) :]
    reading, writing = struct.unpack("=II", told.get(LENGTHS, bytes(8)))
    peer, user = (int.from_bytes(told.get(kind, b"\0"), "little") for kind in (PEER, USER))
    return inode, peer, reading, writing, user


def of_pair() -> int:
    """Bytes that wait in one socket of this machine's own, at most."""
    return number("core/wmem_default") + LARGEST


def of_stream() -> int:
    """The same of TCP."""
    return max(number("ipv4/tcp_wmem") + number("ipv4/tcp_rmem"), of_pair())


def number(name: str) -> int:
    """The last one of a setting of the kernel's network; what is usual where it cannot be read."""
    words = [line.split() for line in lines(f"/proc/sys/net/{name}")]
    return int(words[0][-1]) if words else 6 << 20


def lines(path: str) -> list[str]:
    with suppress(OSError), open(path) as file:  # noqa: PTH123
        return file.readlines()
    return []
