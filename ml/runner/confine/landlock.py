"""Landlock: the files and TCP ports that a process and all below it can reach, and whom it can signal."""

import ctypes
import os
import stat
import struct

from ml.runner.confine import kernel

CREATE, ADD_RULE, RESTRICT = 444, 445, 446  # the same on every architecture
FILES, PORTS = 1, 2  # kinds of rules
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
TRUNCATE, IOCTL = 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
BIND, CONNECT = 1, 2
OUR_SOCKETS_AND_SIGNALS = 3  # those of processes outside are out of reach


def version() -> int:
    """The kernel's; 0 where it has no Landlock. 4 knows ports, 6 signals."""
    try:
        return kernel.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict(reads: list[str], writes: list[str], ports: list[int] | None) -> None:
    """Nothing but `reads` and `writes` can be opened from now on, and TCP connected to `ports` alone.

    `ports` None leaves the network as it is. Paths that are not there are passed over.
    """
    abi = version()
    if not abi:
        return
    files = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, TRUNCATE), (5, IOCTL)):
        files |= right if abi >= since else 0
    net = BIND | CONNECT if abi >= 4 and ports is not None else 0
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    handled = struct.pack("=QQQ", files, net, OUR_SOCKETS_AND_SIGNALS)[:size]
    rules = kernel.syscall(CREATE, handled, ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path in reads:
        allow(rules, path, READ & files)
    for path in writes:
        allow(rules, path, files & ~MAKE_CHAR & ~MAKE_BLOCK)
    if net:
        rule(rules, PORTS, struct.pack("=QQ", BIND, 0))  # a free port, as processes of one training talk by
        for port in ports or ():
            rule(rules, PORTS, struct.pack("=QQ", CONNECT, port))
    kernel.syscall(RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= OF_A_FILE
    rule(rules, FILES, struct.pack("=Qi", rights, place))
    os.close(place)


def rule(rules: int, kind: int, content: bytes) -> None:
    kernel.syscall(ADD_RULE, ctypes.c_int(rules), ctypes.c_int(kind), content, ctypes.c_uint32(0))
