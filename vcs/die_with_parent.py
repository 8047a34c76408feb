"""A wrapper inside Singer's environments: a program that dies with the process that started it.

    python -I die_with_parent.py PARENT PROGRAM [ARGUMENT…]

The kernel kills PROGRAM when the thread that started it ends, however that happens. Standard library only.
"""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before this process could register to die with it
        sys.exit("the parent is gone")
    sys.argv = sys.argv[2:]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
