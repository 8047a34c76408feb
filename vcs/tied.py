"""Runs inside Singer's environments: a program that dies with the process that wanted it.

    python -I tied.py PARENT PROGRAM [ARGUMENT…]

The kernel kills PROGRAM when the thread that started it ends, however that happens. Standard library only.
"""

import ctypes
import os
import runpy
import signal
import sys

SET_DEATH_SIGNAL = 1  # <linux/prctl.h>


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2]
    ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before this process could ask to die with it
        sys.exit("the parent is gone")
    sys.argv = sys.argv[2:]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
