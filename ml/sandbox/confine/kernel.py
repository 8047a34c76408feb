"""Wrappers of system calls that Python has no function for."""

import ctypes
import os
import signal
import sys

LIBC = ctypes.CDLL(None, use_errno=True)

# <linux/prctl.h>
SET_DEATH_SIGNAL, SET_DUMPABLE, CAPBSET_DROP, SET_NO_NEW_PRIVS = 1, 4, 24, 38
# <linux/sched.h>, <linux/mount.h>
NEW_MOUNTS = 0x20000
NOSUID, NODEV, BIND, RECURSIVE, PRIVATE = 2, 4, 4096, 16384, 1 << 18


def syscall(number: int, *arguments: object) -> int:
    result = int(LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise last_error(f"system call {number}")
    return result


def prctl(option: int, *arguments: object) -> None:
    zeros = [ctypes.c_ulong(0)] * (4 - len(arguments))
    if LIBC.prctl(option, *(ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments), *zeros) < 0:
        raise last_error(f"prctl {option}")


def die_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends."""
    prctl(SET_DEATH_SIGNAL, int(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit("what held it is gone")


def unshare(what: int) -> None:
    if LIBC.unshare(what) < 0:
        raise last_error("unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    texts = [text.encode() for text in (source, target, kind)]
    if LIBC.mount(*texts, ctypes.c_ulong(flags), data.encode()) < 0:
        raise last_error(target)


def drop_capabilities() -> None:
    """Drop capabilities, for root that stays root: the next program gets none of root's rights."""
    for capability in range(64):
        if LIBC.prctl(CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # the kernel has no more, or we own none to drop
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if LIBC.capset(header, nothing) < 0:
        raise last_error("capset")


def last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
