"""The relay of a program's own log file to the log of a stage, line by line while it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

PAUSE_SECONDS = 0.5
MAX_BYTES = 4 << 20  # bytes that are relayed: a build may write without end


@contextmanager
def relay_log(source: Path, log: Path, mask: Callable[[str], str]) -> Iterator[None]:
    """Append new lines of `source` to `log` until the block ends, whole lines at a time, without secrets."""
    relay, ended = LogRelay(source, log, mask), Event()

    def pass_on() -> None:
        while not ended.wait(PAUSE_SECONDS):
            relay.pass_on()

    thread = Thread(target=pass_on, name="log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        relay.pass_on(is_last=True)


class LogRelay:
    """The position up to which a log was relayed."""

    def __init__(self, source: Path, log: Path, mask: Callable[[str], str]) -> None:
        self.source, self.log, self.mask = source, log, mask
        self.read_bytes = 0  # bytes

    def pass_on(self, *, is_last: bool = False) -> None:
        """Append the lines that are complete; the last time also the incomplete one."""
        with suppress(OSError):  # the disk may be full: no release fails because of a log
            with self.source.open("rb") as file:
                file.seek(self.read_bytes)
                new = file.read(MAX_BYTES - self.read_bytes)
            whole = len(new) if is_last else new.rfind(b"\n") + 1
            text = self.mask(new[:whole].decode(errors="replace"))
            if not text.strip():
                return
            with self.log.open("a", encoding="utf-8") as target:
                target.write(text if text.endswith("\n") else f"{text}\n")
            self.read_bytes += whole
