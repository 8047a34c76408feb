"""The compiler of the modules below a folder, a process for each core: `python -I -S bytecode.py FOLDER`.

Runs in the interpreter of an environment: standard library only, Python >= 3.8. The workers of compileall
itself communicate over sockets from Python 3.12 on, and a sandbox without a network has none.
"""

import compileall
import os
import sys
from contextlib import suppress
from pathlib import Path

QUIET_LEVEL = 2  # a module that is for another Python is no error


def main(folder: str) -> int:
    """Return 0 when each process has run to its end."""
    files = sorted(str(path) for path in Path(folder).rglob("*.py"))
    cores = len(os.sched_getaffinity(0))
    children = [start_compiler(files[number::cores]) for number in range(cores)]
    return max(os.waitpid(child, 0)[1] for child in children) and 1


def start_compiler(files: "list[str]") -> int:
    """Compile these files in a child process; return its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for file in files:
            with suppress(Exception):  # nested too deep, or no file
                compileall.compile_file(file, quiet=QUIET_LEVEL)
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
