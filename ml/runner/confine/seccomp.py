"""Seccomp: which sockets a process can make, and who is asked before it connects. It needs no privilege."""

import ctypes
import errno
import os
import struct

from ml.runner.confine import kernel

# machine → what the kernel calls its architecture, and the numbers of its calls
CALLS = ("seccomp", "socket", "connect", "sendto", "sendmsg", "sendmmsg")
LASTING = (
    "shmget",
    "semget",
    "msgget",
    "mq_open",
)  # what they make outlives who made it, and no limit counts it
X86_64 = (317, 41, 42, 44, 46, 307, 29, 64, 68, 240)
AARCH64 = (277, 198, 203, 206, 211, 269, 194, 190, 186, 180)
MACHINES = {
    "x86_64": (0xC000003E, dict(zip(CALLS + LASTING, X86_64, strict=True))),
    "aarch64": (0xC00000B7, dict(zip(CALLS + LASTING, AARCH64, strict=True))),
}
IO_URING_SETUP = 425  # it makes sockets too, and connects them
X32 = 0x40000000  # x86_64's other table of calls
FLAGS = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}  # where the flags stand among the arguments
FAST_OPEN = 0x20000000  # sends and connects at once, which Landlock does not see
UNIX, INET, NETLINK, INET6, STREAM, TCP = 1, 2, 16, 10, 1, 6

# instructions <linux/bpf_common.h>
LOAD, EQUAL, AT_LEAST, ANY_OF, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, REFUSE, ASK = 0x7FFF0000, 0x00050000, 0x7FC00000
SET_FILTER, NEW_LISTENER = 1, 8

Instruction = tuple[int, int, int, int]  # what, jumps where it holds and where not, value


def available() -> bool:
    return os.uname().machine in MACHINES and os.path.exists("/proc/sys/kernel/seccomp")  # noqa: PTH110


def can_ask() -> bool:
    """Whether a process can be asked before another connects; tried out in a child."""
    child = os.fork()
    if not child:
        try:
            kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
            os._exit(0 if only_tcp(ask=True) >= 0 else 1)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def secretive() -> bool:
    """Whether this machine lets only administrators look at what their own processes hold."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as file:  # noqa: PTH123
            return int(file.read()) >= 2
    except OSError:
        return False


def refuse_sockets() -> None:
    """socket() fails with EACCES from now on; those that are open stay, and socketpair() works."""
    if available():
        install([*of("socket", (RETURN, 0, 0, REFUSE | errno.EACCES))])


def only_tcp(*, ask: bool) -> int:
    """Of network sockets only TCP can be made from now on. With `ask`, gives where connect() asks first.

    UDP has no port that Landlock checks, MPTCP and others reach TCP servers past it. Raises `OSError` where
    nobody can be asked: Linux is older than 5.9, somebody else is asked already, or could not look.
    """
    if not available():
        return -1
    if ask and tuple(int(part) for part in os.uname().release.split(".")[:2]) < (5, 9):
        raise OSError(errno.ENOSYS, "Linux is older than 5.9")
    if ask and secretive():
        raise OSError(errno.EPERM, "no process may read another's memory")
    body = [*of("connect", (RETURN, 0, 0, ASK))] if ask else []
    for name, place in FLAGS.items():
        sends = ((ANY_OF, 0, 1, FAST_OPEN), (RETURN, 0, 0, REFUSE | errno.EOPNOTSUPP), (RETURN, 0, 0, ALLOW))
        body += of(name, argument(place), *sends)
    refused = (RETURN, 0, 0, REFUSE | errno.EACCES)
    body += of(
        "socket",
        argument(0),
        *((EQUAL, 0, 1, UNIX), (RETURN, 0, 0, ALLOW)),
        *((EQUAL, 0, 4, NETLINK), argument(2), (EQUAL, 0, 1, 0), (RETURN, 0, 0, ALLOW), refused),
        *((EQUAL, 2, 0, INET), (EQUAL, 1, 0, INET6), refused),
        *(argument(1), (AND, 0, 0, 0xF), (EQUAL, 1, 0, STREAM), refused),
        *(argument(2), (EQUAL, 2, 0, 0), (EQUAL, 1, 0, TCP), refused),
    )
    return install(body, NEW_LISTENER if ask else 0)


def of(name: str, *body: Instruction) -> list[Instruction]:
    """What is to be done at one call; the number is loaded, and others skip it."""
    return [(EQUAL, 0, len(body), call(name)), *body]


def argument(place: int) -> Instruction:
    """Load the lower half of an argument: the kernel takes no more of an int."""
    return LOAD, 0, 0, 16 + 8 * place


def call(name: str) -> int:
    return MACHINES[os.uname().machine][1][name]


def install(body: list[Instruction], flags: int = 0) -> int:
    architecture, _ = MACHINES[os.uname().machine]
    foreign = (RETURN, 0, 0, REFUSE | errno.ENOSYS)
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (LOAD, 0, 0, 4),
            *((EQUAL, 1, 0, architecture), foreign),  # calls of another architecture have other numbers
            (LOAD, 0, 0, 0),
            *((AT_LEAST, 0, 1, X32), foreign),
            *((EQUAL, 0, 1, IO_URING_SETUP), foreign),
            *(instruction for name in LASTING for instruction in of(name, foreign)),
            *body,
            (RETURN, 0, 0, ALLOW),
        )
    )
    instructions = ctypes.create_string_buffer(program, len(program))
    packed = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    return kernel.syscall(
        call("seccomp"), ctypes.c_uint(SET_FILTER), ctypes.c_uint(flags), ctypes.c_char_p(packed)
    )
