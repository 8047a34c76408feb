"""Seccomp: which calls a process can make, and who is asked before some of them. It needs no privilege."""

import ctypes
import errno
import os
import struct

from ml.runner.confine import calls, kernel

X32 = 0x40000000  # x86_64's other table of calls
FLAGS = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}  # where the flags stand among the arguments
FAST_OPEN = 0x20000000  # sends and connects at once, which Landlock does not see
UNIX, INET, NETLINK, INET6, STREAM, SEQPACKET, TCP = 1, 2, 16, 10, 1, 5, 6
SOCKETS, BUFFERS = 1, (7, 8)  # SOL_SOCKET; SO_SNDBUF, SO_RCVBUF
NEW_NAMESPACES, NEW_TIME = 0x7E020000, 0x80  # CLONE_NEW…; the bit of the latter means a signal in clone()
ALL_PROCESSES, ASKS_ONLY = 0xFFFFFFFF, 0xFFFFFFFF  # kill(-1); personality(-1)
OF_OTHERS = (kernel.SET_DUMPABLE, 62)  # prctl: not to be looked at; to share a core (PR_SCHED_CORE)
ASKED = ("connect", "bind", "listen")

# instructions <linux/bpf_common.h>
LOAD, JUMP, EQUAL, AT_LEAST, ANY_OF, AND, RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, REFUSE, ASK = 0x7FFF0000, 0x00050000, 0x7FC00000
SET_FILTER, NEW_LISTENER = 1, 8

Instruction = tuple[int, int, int, int]  # what, jumps where it holds and where not, value

PASS = (RETURN, 0, 0, ALLOW)
CLOSED = (RETURN, 0, 0, REFUSE | errno.EACCES)
NOT_PERMITTED = (RETURN, 0, 0, REFUSE | errno.EPERM)
NO_SUCH_CALL = (RETURN, 0, 0, REFUSE | errno.ENOSYS)
NOTHING_DONE = (RETURN, 0, 0, REFUSE)  # and no error


def available() -> bool:
    return os.uname().machine in calls.MACHINES and os.path.exists("/proc/sys/kernel/seccomp")  # noqa: PTH110


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


def refuse_foreign(*, counted: bool) -> None:
    """Refuse what acts on others; the network stays as it is."""
    if available():
        install(foreign(counted=counted))


def refuse_sockets(*, counted: bool = False) -> None:
    """Refuse any new socket with EACCES; those that are open stay, and connected pairs can be made."""
    if available():
        refused = [instruction for name in ("socket", *ASKED) for instruction in of(name, CLOSED)]
        install([*pairs(), *refused, *foreign(counted=counted)])


def only_tcp(*, ask: bool, tcp: bool = True, counted: bool = False) -> int:
    """Of network sockets only TCP can be made from now on. With `ask`, gives where connect() asks first.

    So do bind() and listen(), and sockets in the file system can be made; without, nothing can listen. UDP
    has no port that Landlock checks, MPTCP and others reach TCP servers past it; sockets in the file system
    that know no connection name another at each message. Raises `OSError` where nobody can be asked: Linux
    is older than 5.9, somebody else is asked already, or could not look.
    """
    if not available():
        return -1
    if ask and tuple(int(part) for part in os.uname().release.split(".")[:2]) < (5, 9):
        raise OSError(errno.ENOSYS, "Linux is older than 5.9")
    if ask and secretive():
        raise OSError(errno.EPERM, "no process may read another's memory")
    body: list[Instruction] = []
    for name, place in FLAGS.items():
        sends = ((ANY_OF, 0, 1, FAST_OPEN), (RETURN, 0, 0, REFUSE | errno.EOPNOTSUPP), PASS)
        body += of(name, argument(place), *sends)
    for name in ASKED if ask else ():
        body += of(name, (RETURN, 0, 0, ASK))
    body += [] if ask else of("listen", CLOSED)
    body += sockets(unix=ask, tcp=tcp) + pairs() + foreign(counted=counted)
    return install(body, NEW_LISTENER if ask else 0)


def sockets(*, unix: bool, tcp: bool) -> list[Instruction]:
    """Which ones can be made: of the file system, to ask the kernel for its addresses, TCP."""
    stream = (argument(1), (AND, 0, 0, 0xF), (EQUAL, 1, 0, STREAM), CLOSED)
    in_files = ((EQUAL, 0, len(stream) + 1, UNIX), *stream, PASS)
    asks_kernel = ((EQUAL, 0, 4, NETLINK), argument(2), (EQUAL, 0, 1, 0), PASS, CLOSED)
    internet = (
        *((EQUAL, 2, 0, INET), (EQUAL, 1, 0, INET6), CLOSED, *stream),
        *(argument(2), (EQUAL, 2, 0, 0), (EQUAL, 1, 0, TCP), CLOSED, PASS),
    )
    return of(
        "socket",
        argument(0),
        *(in_files if unix else ()),
        *asks_kernel,
        *(internet if tcp else (CLOSED,)),
    )


def pairs() -> list[Instruction]:
    """Pairs of sockets that stay connected: the others could send to any socket in the file system.

    Of TIPC there are pairs too, and its module is loaded for whoever asks.
    """
    local = (argument(0), (EQUAL, 1, 0, UNIX), CLOSED)
    kinds = (
        *local,
        argument(1),
        (AND, 0, 0, 0xF),
        (EQUAL, 2, 0, STREAM),
        (EQUAL, 1, 0, SEQPACKET),
        CLOSED,
        PASS,
    )
    return of("socketpair", *kinds)


def foreign(*, counted: bool) -> list[Instruction]:
    """Refuse what acts on other processes, outlives its process, or holds memory that nobody sees.

    Where the kernel has not `counted` memory, that is files without a name, and larger buffers of sockets.
    """
    namespaces = ((ANY_OF, 0, 1, NEW_NAMESPACES), NOT_PERMITTED, PASS)
    body = [
        *of("prctl", argument(0), *any_of(OF_OTHERS, NOT_PERMITTED), PASS),
        *of("clone", argument(0), *namespaces),
        *of("unshare", argument(0), (ANY_OF, 0, 1, NEW_NAMESPACES | NEW_TIME), NOT_PERMITTED, PASS),
        *of("kill", argument(0), (EQUAL, 0, 1, ALL_PROCESSES), NOT_PERMITTED, PASS),
        *of("sched_setaffinity", *itself(0, NOTHING_DONE)),  # OpenMP names its threads, and ends on an error
        *of("setpriority", argument(0), (EQUAL, 1, 0, 0), NOT_PERMITTED, *itself(1)),
        *of("ioprio_set", argument(0), (EQUAL, 1, 0, 1), NOT_PERMITTED, *itself(1)),
        *of("personality", argument(0), *any_of((0, ASKS_ONLY), PASS), NOT_PERMITTED),
    ]
    for name in ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setattr", "move_pages"):
        body += of(name, *itself(0))
    absent = [*calls.ABSENT, *([] if counted else ["memfd_create"])]
    if not counted:
        level = (argument(1), (EQUAL, 1, 0, SOCKETS), PASS)
        body += of("setsockopt", *level, argument(2), *any_of(BUFFERS, NOTHING_DONE), PASS)
    return body + any_of(numbers(absent), NO_SUCH_CALL) + any_of(numbers(calls.FORBIDDEN), NOT_PERMITTED)


def itself(place: int, otherwise: Instruction = NOT_PERMITTED) -> tuple[Instruction, ...]:
    """Let the call be where this argument is 0, which means the process itself."""
    return argument(place), (EQUAL, 1, 0, 0), otherwise, PASS


def of(name: str, *body: Instruction) -> list[Instruction]:
    """What is to be done at one call; the number is loaded, and others skip it. The body returns."""
    return [(EQUAL, 0, len(body), call(name)), *body]


def any_of(values: tuple[int, ...], answer: Instruction) -> list[Instruction]:
    """Answer so where what is loaded is one of these."""
    count = len(values)
    tests = [(EQUAL, count - place, 0, value) for place, value in enumerate(values)]
    return [*tests, (JUMP, 0, 0, 1), answer]


def argument(place: int) -> Instruction:
    """Load the lower half of an argument: the kernel takes no more of an int."""
    return LOAD, 0, 0, 16 + 8 * place


def call(name: str) -> int:
    (found,) = numbers([name])
    return found


def numbers(names: list[str]) -> tuple[int, ...]:
    found = (calls.number(name, os.uname().machine) for name in names)
    return tuple(number for number in found if number is not None)


def install(body: list[Instruction], flags: int = 0) -> int:
    architecture, _ = calls.MACHINES[os.uname().machine]
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (LOAD, 0, 0, 4),
            *((EQUAL, 1, 0, architecture), NO_SUCH_CALL),  # calls of another architecture have other numbers
            (LOAD, 0, 0, 0),
            *((AT_LEAST, 0, 1, X32), NO_SUCH_CALL),
            *body,
            PASS,
        )
    )
    instructions = ctypes.create_string_buffer(program, len(program))
    packed = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    return kernel.syscall(
        call("seccomp"), ctypes.c_uint(SET_FILTER), ctypes.c_uint(flags), ctypes.c_char_p(packed)
    )
