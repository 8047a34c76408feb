"""A child process that has imported its module before there is work for it, and waits for its arguments."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

SPARE_SECONDS = 60  # that it waits for work
SPARE_OPTION = "--spare"


def read_arguments() -> list[str]:
    """Return the arguments of this process; a spare child waits for them, and ends when there are none."""
    if sys.argv[1] != SPARE_OPTION:
        return sys.argv[1:]
    with os.fdopen(int(sys.argv[2]), encoding="utf-8") as pipe:
        arguments = pipe.read().splitlines()
    if not arguments:
        sys.exit(0)
    return arguments


@dataclass
class SpareChild:
    """A spare child of this process, and the end of the pipe by which it gets its arguments."""

    module: str
    process: subprocess.Popen[bytes]
    write_end: int
    due: float = field(default_factory=lambda: time.monotonic() + SPARE_SECONDS)

    @property
    def is_usable(self) -> bool:
        return self.process.poll() is None and time.monotonic() < self.due

    def begin(self, arguments: tuple[str, ...]) -> None:
        """Give it its arguments: from now on it is a child like any other."""
        with suppress(BrokenPipeError):  # it has just ended: it counts as a child that failed
            os.write(self.write_end, "\n".join(arguments).encode())
        os.close(self.write_end)

    def end(self) -> None:
        """End it, and wait until it is gone."""
        os.close(self.write_end)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
