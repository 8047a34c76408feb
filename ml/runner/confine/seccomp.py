"""Seccomp: no new socket, where a process gets no network. It holds without any privilege."""

import ctypes
import errno
import os
import struct

from ml.runner.confine import kernel

# machine → what the kernel calls its architecture, the number of its call socket()
MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
IO_URING_SETUP = 425  # it makes sockets too
X32 = 0x40000000  # x86_64's other table of calls
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # instructions <linux/bpf_common.h>
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
FILTER_MODE = 2


def available() -> bool:
    return os.uname().machine in MACHINES and os.path.exists("/proc/sys/kernel/seccomp")  # noqa: PTH110


def refuse_sockets() -> None:
    """socket() fails with EACCES from now on; those that are open stay, and socketpair() works."""
    if not available():
        return
    architecture, socket = MACHINES[os.uname().machine]
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (LOAD, 0, 0, 4),
            (EQUAL, 1, 0, architecture),
            (RETURN, 0, 0, REFUSE | errno.ENOSYS),  # calls of another architecture have other numbers
            (LOAD, 0, 0, 0),
            (AT_LEAST, 0, 1, X32),
            (RETURN, 0, 0, REFUSE | errno.ENOSYS),
            (EQUAL, 0, 1, socket),
            (RETURN, 0, 0, REFUSE | errno.EACCES),
            (EQUAL, 0, 1, IO_URING_SETUP),
            (RETURN, 0, 0, REFUSE | errno.ENOSYS),
            (RETURN, 0, 0, ALLOW),
        )
    )
    instructions = ctypes.create_string_buffer(program, len(program))
    filter_program = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    kernel.prctl(kernel.SET_SECCOMP, FILTER_MODE, ctypes.c_char_p(filter_program))
