"""Landlock: the files and TCP ports that a process tree can reach, and the processes it can signal."""

import ctypes
import os
import stat
import struct

from ml.sandbox.confine import kernel

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
PATH_RULE, PORT_RULE = 1, 2  # kinds of rules
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
TRUNCATE, IOCTL = 1 << 14, 1 << 15
READ_RIGHTS = EXECUTE | READ_FILE | READ_DIR
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
BIND, CONNECT = 1, 2
SCOPED_SOCKETS_AND_SIGNALS = 3  # those of outside processes are out of reach


def abi_version() -> int:
    """Return the kernel's version of Landlock, 0 where it has none. 4 supports ports, 6 signals."""
    try:
        return kernel.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict_self(reads: list[str], writes: list[str], ports: list[int] | None) -> None:
    """Allow only `reads` and `writes` to be opened from now on, and TCP connections only to `ports`.

    `ports` None leaves the network as it is. Paths that do not exist are skipped.
    """
    abi = abi_version()
    if not abi:
        return
    files = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, TRUNCATE), (5, IOCTL)):
        files |= right if abi >= since else 0
    net = BIND | CONNECT if abi >= 4 and ports is not None else 0
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    handled = struct.pack("=QQQ", files, net, SCOPED_SOCKETS_AND_SIGNALS)[:size]
    rules = kernel.syscall(CREATE_RULESET, handled, ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path in reads:
        allow_path(rules, path, READ_RIGHTS & files)
    for path in writes:
        allow_path(rules, path, files & ~MAKE_CHAR & ~MAKE_BLOCK)
    if net:
        # a free port, by which processes of one training communicate
        add_rule(rules, PORT_RULE, struct.pack("=QQ", BIND, 0))
        for port in ports or ():
            add_rule(rules, PORT_RULE, struct.pack("=QQ", CONNECT, port))
    kernel.syscall(RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def allow_path(rules: int, path: str, rights: int) -> None:
    try:
        path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(path_fd).st_mode):
        rights &= FILE_RIGHTS
    add_rule(rules, PATH_RULE, struct.pack("=Qi", rights, path_fd))
    os.close(path_fd)


def add_rule(rules: int, kind: int, content: bytes) -> None:
    kernel.syscall(ADD_RULE, ctypes.c_int(rules), ctypes.c_int(kind), content, ctypes.c_uint32(0))
