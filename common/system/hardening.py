"""Hardening of this process against others of the same user: its environment and memory hold secrets."""

import ctypes

PR_SET_DUMPABLE = 4  # <linux/prctl.h>


def make_undumpable() -> None:
    """Make /proc/PID/environ and /proc/PID/mem readable by root only."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
