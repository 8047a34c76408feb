"""One of Singer's processes: its job and report in memory, its environment, its end."""

import json
import os
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from vcs.install import part_python

PACKAGE_FOLDER = Path(__file__).parent
STDERR_TAIL_BYTES = 16_384  # of a process's latest output
# Variables that a network may need; no token, no database, no .netrc that would replace the token.
INHERITED_VARIABLES = (
    "PATH LANG LC_ALL SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE"
    " HTTPS_PROXY HTTP_PROXY ALL_PROXY https_proxy http_proxy all_proxy"
)

Json = dict[str, Any]


class SingerProcess:
    """One of the two processes, with the files that it shares only with this one."""

    def __init__(self, name: str, job: Json, files: ExitStack, program: str | None = None) -> None:
        self.name, self.program = name, program or f"{name}.py"
        self.job = files.enter_context(open_memory_file(f"{name} job"))
        self.report_file = files.enter_context(open_memory_file(f"{name} report"))
        self.stderr = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (`files` closes it)
        self.job.write(json.dumps(job).encode())
        self.job.flush()
        self.job.seek(0)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, home: Path, stdin: IO[bytes] | int | None) -> "subprocess.Popen[bytes]":
        """Start it in its own session, so that only we forward a terminal's Ctrl-C."""
        fds = (self.job.fileno(), self.report_file.fileno())
        command = [
            str(part_python(home, self.name)),
            "-I",
            str(PACKAGE_FOLDER / "die_with_parent.py"),
            str(os.getpid()),
        ]
        self.process = subprocess.Popen(
            [*command, str(PACKAGE_FOLDER / self.program), *map(str, fds)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            pass_fds=fds,
            env=singer_environment(),
            start_new_session=True,
        )
        return self.process

    @property
    def exit_code(self) -> int | None:
        """Return its exit code: None before it was started and while it runs, negative when it was killed."""
        return self.process.poll() if self.process else None

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def read_report(self) -> Json:
        size = os.fstat(self.report_file.fileno()).st_size
        found: Json = json.loads(os.pread(self.report_file.fileno(), size, 0) or b"{}")
        return found

    def read_stderr_tail(self) -> str:
        size = os.fstat(self.stderr.fileno()).st_size
        return (
            os.pread(self.stderr.fileno(), STDERR_TAIL_BYTES, max(0, size - STDERR_TAIL_BYTES))
            .decode("utf-8", "replace")
            .strip()
        )


def open_memory_file(name: str) -> IO[bytes]:
    """Open a file that exists only in memory, for data that must not be left on a disk."""
    return os.fdopen(os.memfd_create(name), "w+b")


def singer_environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in INHERITED_VARIABLES.split() if name in os.environ}
    here = ["127.0.0.1", "localhost", "::1"]
    direct = ",".join([*filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy")]), *here])
    return {**passed, "NO_PROXY": direct, "no_proxy": direct, "TZ": "UTC", "HOME": "/nonexistent"}
