"""Faults of an appliance's dependencies: a silent server, a full disk, a changed clock."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


class Hole:
    """A proxy in front of a port; while it is closed, data stays in it and no connection ends."""

    def __init__(self, port: int) -> None:
        self._server, self._to = socket.create_server(("127.0.0.1", 0)), port
        self.open = threading.Event()
        self.open.set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def close(self) -> None:
        self.open.set()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._server.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(65536):
                self.open.wait()
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop processes until the block ends; those that are killed in the meantime stay so."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """Mount a small disk at the folder `place`; skip the test where it cannot be mounted."""
    options = f"size={size},mode=755"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=False).returncode:
        pytest.skip("a disk that can be filled has to be mounted, and that takes root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path, spare: int = 0) -> None:
    """Fill a small disk but for `spare` bytes."""
    with (disk / "ballast").open("wb") as file:
        while (free := shutil.disk_usage(disk).free - spare) > 0:
            with suppress(OSError):  # another process has used some of it in the meantime
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free)


def make_room(disk: Path) -> None:
    (disk / "ballast").unlink()


class Clock:
    """The time of day that processes with its `environment` see; how fast time passes stays the same."""

    def __init__(self, file: Path) -> None:
        if not FAKETIME.exists():
            pytest.skip("libfaketime is not installed: no clock can be set but the machine's")
        self._file = file
        self.set(0)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(Path(__file__).with_name("faketime")),
        }

    def set(self, seconds: int) -> None:
        """Set its difference from the machine's clock; processes see it within a second."""
        self._file.write_text(f"{seconds:+d}\n")
