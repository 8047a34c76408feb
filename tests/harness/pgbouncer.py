"""A PgBouncer in front of the tests' Postgres, in one of its modes."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.harness.waiting import free_port, wait_until

PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"


@contextmanager
def in_front_of(database_url: str, folder: Path, mode: str, pool_size: int = 20) -> Iterator[str]:
    """Give the URL of the same database through a PgBouncer of this `pool_mode`."""
    if not Path(PROGRAM).exists():
        pytest.skip("PgBouncer is not installed")
    server, port = make_url(database_url), free_port()
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "users").write_text(f'"{server.username}" "{server.password}"\n')
    lines = [
        "[databases]",
        f"* = host={server.host} port={server.port}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = plain",
        f"auth_file = {folder / 'users'}",
        f"pool_mode = {mode}",
        f"default_pool_size = {pool_size}",
        *(["user = nobody"] if os.geteuid() == 0 else []),  # it refuses to run as root
    ]
    (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, folder / "pgbouncer.ini"], stdout=log, stderr=log)
    try:
        wait_until(lambda: is_listening(port), 30, "PgBouncer listens")
        yield server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait()


def is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
