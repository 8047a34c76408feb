"""Seccomp, which needs no privilege: the calls that a process can make, and those that the broker decides."""

import ctypes
import errno
import os
import struct

from ml.sandbox.confine import kernel, system_calls

X32 = 0x40000000  # x86_64's other table of calls
FLAG_ARGUMENTS = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}  # the position of the flags among the arguments
FAST_OPEN = 0x20000000  # sends and connects at once, which Landlock does not check
UNIX, INET, NETLINK, INET6, STREAM, SEQPACKET, TCP = 1, 2, 16, 10, 1, 5, 6
SOCKETS, BUFFERS = 1, (7, 8)  # SOL_SOCKET; SO_SNDBUF, SO_RCVBUF
NEW_NAMESPACES, NEW_TIME = 0x7E020000, 0x80  # CLONE_NEW…; the bit of the latter means a signal in clone()
ALL_PROCESSES, ASKS_ONLY = 0xFFFFFFFF, 0xFFFFFFFF  # kill(-1); personality(-1)
FORBIDDEN_PRCTLS = (kernel.SET_DUMPABLE, 62)  # prctl: not to be inspected; to share a core (PR_SCHED_CORE)
NOTIFIED_CALLS = ("connect", "bind", "listen")

# instructions <linux/bpf_common.h>
LOAD, JUMP, EQUAL, AT_LEAST, ANY_OF, AND, RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, REFUSE, NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000
SET_FILTER, NEW_LISTENER = 1, 8

Instruction = tuple[int, int, int, int]  # operation, jumps if true and if false, value

PASS = (RETURN, 0, 0, ALLOW)
CLOSED = (RETURN, 0, 0, REFUSE | errno.EACCES)
NOT_PERMITTED = (RETURN, 0, 0, REFUSE | errno.EPERM)
NO_SUCH_CALL = (RETURN, 0, 0, REFUSE | errno.ENOSYS)
NOTHING_DONE = (RETURN, 0, 0, REFUSE)  # and no error


def is_available() -> bool:
    return os.uname().machine in system_calls.ARCHITECTURES and os.path.exists("/proc/sys/kernel/seccomp")  # noqa: PTH110


def can_notify() -> bool:
    """Return True when another process can decide over a process's connect(); tried out in a child."""
    child = os.fork()
    if not child:
        try:
            kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
            os._exit(0 if allow_only_tcp(notify=True) >= 0 else 1)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def is_ptrace_restricted() -> bool:
    """Return True when only administrators may read the memory of their own processes on this machine."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as file:  # noqa: PTH123
            return int(file.read()) >= 2
    except OSError:
        return False


def refuse_outside_calls(*, counted: bool) -> None:
    """Refuse calls that act on others; the network stays as it is."""
    if is_available():
        install_filter(isolation_rules(counted=counted))


def refuse_sockets(*, counted: bool = False) -> None:
    """Refuse any new socket with EACCES; open ones stay, and connected pairs can be created."""
    if is_available():
        refused = [
            instruction for name in ("socket", *NOTIFIED_CALLS) for instruction in on_call(name, CLOSED)
        ]
        install_filter([*socketpair_rules(), *refused, *isolation_rules(counted=counted)])


def allow_only_tcp(*, notify: bool, tcp: bool = True, counted: bool = False) -> int:
    """Allow only TCP among new network sockets. With `notify`, return the listener that decides on connect().

    It also decides on bind() and listen(), and sockets in the file system can be created; without it, nothing
    can listen. UDP has no port that Landlock checks, MPTCP and others reach TCP servers past it;
    connectionless sockets in the file system name another one with each message. Raises `OSError` where there
    can be no listener: Linux is older than 5.9, there is one already, or it could not read memory.
    """
    if not is_available():
        return -1
    if notify and tuple(int(part) for part in os.uname().release.split(".")[:2]) < (5, 9):
        raise OSError(errno.ENOSYS, "Linux is older than 5.9")
    if notify and is_ptrace_restricted():
        raise OSError(errno.EPERM, "no process may read another's memory")
    body: list[Instruction] = []
    for name, place in FLAG_ARGUMENTS.items():
        sends = ((ANY_OF, 0, 1, FAST_OPEN), (RETURN, 0, 0, REFUSE | errno.EOPNOTSUPP), PASS)
        body += on_call(name, load_argument(place), *sends)
    for name in NOTIFIED_CALLS if notify else ():
        body += on_call(name, (RETURN, 0, 0, NOTIFY))
    body += [] if notify else on_call("listen", CLOSED)
    body += socket_rules(unix=notify, tcp=tcp) + socketpair_rules() + isolation_rules(counted=counted)
    return install_filter(body, NEW_LISTENER if notify else 0)


def socket_rules(*, unix: bool, tcp: bool) -> list[Instruction]:
    """Return the rules of the sockets that can be created: file system, netlink for addresses, TCP."""
    stream = (load_argument(1), (AND, 0, 0, 0xF), (EQUAL, 1, 0, STREAM), CLOSED)
    in_files = ((EQUAL, 0, len(stream) + 1, UNIX), *stream, PASS)
    asks_kernel = ((EQUAL, 0, 4, NETLINK), load_argument(2), (EQUAL, 0, 1, 0), PASS, CLOSED)
    internet = (
        *((EQUAL, 2, 0, INET), (EQUAL, 1, 0, INET6), CLOSED, *stream),
        *(load_argument(2), (EQUAL, 2, 0, 0), (EQUAL, 1, 0, TCP), CLOSED, PASS),
    )
    return on_call(
        "socket",
        load_argument(0),
        *(in_files if unix else ()),
        *asks_kernel,
        *(internet if tcp else (CLOSED,)),
    )


def socketpair_rules() -> list[Instruction]:
    """Return the rules of socket pairs, of which only those that stay connected are allowed.

    The others could send to any socket in the file system. Of TIPC there are pairs too, and its module is
    loaded at the first request.
    """
    local = (load_argument(0), (EQUAL, 1, 0, UNIX), CLOSED)
    kinds = (
        *local,
        load_argument(1),
        (AND, 0, 0, 0xF),
        (EQUAL, 2, 0, STREAM),
        (EQUAL, 1, 0, SEQPACKET),
        CLOSED,
        PASS,
    )
    return on_call("socketpair", *kinds)


def isolation_rules(*, counted: bool) -> list[Instruction]:
    """Refuse calls that act on other processes, outlive their process, or use memory that is not counted.

    Where the kernel has not `counted` memory, that is files without a name, and larger buffers of sockets.
    """
    namespaces = ((ANY_OF, 0, 1, NEW_NAMESPACES), NOT_PERMITTED, PASS)
    body = [
        *on_call("prctl", load_argument(0), *any_of(FORBIDDEN_PRCTLS, NOT_PERMITTED), PASS),
        *on_call("clone", load_argument(0), *namespaces),
        *on_call("unshare", load_argument(0), (ANY_OF, 0, 1, NEW_NAMESPACES | NEW_TIME), NOT_PERMITTED, PASS),
        *on_call("kill", load_argument(0), (EQUAL, 0, 1, ALL_PROCESSES), NOT_PERMITTED, PASS),
        # OpenMP pins its threads, and ends on an error
        *on_call("sched_setaffinity", *only_self(0, NOTHING_DONE)),
        *on_call("setpriority", load_argument(0), (EQUAL, 1, 0, 0), NOT_PERMITTED, *only_self(1)),
        *on_call("ioprio_set", load_argument(0), (EQUAL, 1, 0, 1), NOT_PERMITTED, *only_self(1)),
        *on_call("personality", load_argument(0), *any_of((0, ASKS_ONLY), PASS), NOT_PERMITTED),
    ]
    for name in ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setattr", "move_pages"):
        body += on_call(name, *only_self(0))
    absent = [*system_calls.ABSENT_NAMES, *([] if counted else ["memfd_create"])]
    if not counted:
        level = (load_argument(1), (EQUAL, 1, 0, SOCKETS), PASS)
        body += on_call("setsockopt", *level, load_argument(2), *any_of(BUFFERS, NOTHING_DONE), PASS)
    return (
        body
        + any_of(call_numbers(absent), NO_SUCH_CALL)
        + any_of(call_numbers(system_calls.FORBIDDEN_NAMES), NOT_PERMITTED)
    )


def only_self(place: int, otherwise: Instruction = NOT_PERMITTED) -> tuple[Instruction, ...]:
    """Allow the call where this argument is 0, which means the process itself."""
    return load_argument(place), (EQUAL, 1, 0, 0), otherwise, PASS


def on_call(name: str, *body: Instruction) -> list[Instruction]:
    """Return the rules of one call; the number is loaded, and other calls skip them. The body returns."""
    return [(EQUAL, 0, len(body), call_number(name)), *body]


def any_of(values: tuple[int, ...], answer: Instruction) -> list[Instruction]:
    """Return the rules that answer so where the loaded value is one of these."""
    count = len(values)
    tests = [(EQUAL, count - place, 0, value) for place, value in enumerate(values)]
    return [*tests, (JUMP, 0, 0, 1), answer]


def load_argument(place: int) -> Instruction:
    """Return the rule that loads the lower half of an argument: the kernel takes no more of an int."""
    return LOAD, 0, 0, 16 + 8 * place


def call_number(name: str) -> int:
    (found,) = call_numbers([name])
    return found


def call_numbers(names: list[str]) -> tuple[int, ...]:
    found = (system_calls.find_number(name, os.uname().machine) for name in names)
    return tuple(number for number in found if number is not None)


def install_filter(body: list[Instruction], flags: int = 0) -> int:
    architecture, _ = system_calls.ARCHITECTURES[os.uname().machine]
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
        call_number("seccomp"), ctypes.c_uint(SET_FILTER), ctypes.c_uint(flags), ctypes.c_char_p(packed)
    )
