"""A pipe that carries a command's output to a file of limited size; standard library only."""

import os
from contextlib import suppress


class OutputLog:
    """A pipe that carries the command's output to our stdout."""

    def __init__(self, limit: int, truncate: bool) -> None:
        self.limit, self.truncate = limit, truncate
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_end, False)
        self.is_cut = False

    def forward_output(self) -> bool:
        """Forward the available output; return whether there was any."""
        try:
            output = os.read(self.read_end, 1 << 16)
        except BlockingIOError:
            return False
        if not self.is_cut:
            with suppress(OSError):  # the disk is full: the command need not notice
                self.write(output)
        return bool(output)

    def close(self, last: bytes = b"") -> None:
        """Forward the rest of the pipe, and a last message of ours."""
        while self.forward_output():
            pass
        with suppress(OSError):
            os.write(1, last)

    def write(self, output: bytes) -> None:
        room = self.limit - os.fstat(1).st_size
        if len(output) <= room:
            os.write(1, output)
        elif self.truncate:
            os.ftruncate(1, 0)
            os.write(1, b"[slipway: the log was full, it starts again]\n" + output)
        else:
            os.write(1, output[: max(0, room)] + b"\n[slipway: the log is cut here: it was too long]\n")
            self.is_cut = True
