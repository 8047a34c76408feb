"""The door to uv, which finds interpreters, resolves requirements and makes environments."""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ml.errors import Rejected, Unavailable
from ml.runner import local

PASSED = re.compile(r"^(UV_|PIP_(EXTRA_)?INDEX_URL$|PIP_CERT$|(https?|all|no)_proxy$)", re.IGNORECASE)
WORLD = re.compile(
    r"error sending request|dns error|failed to lookup|connection (refused|reset|closed)|timed? ?out|"
    r"failed to fetch.*(5\d\d|429)|status (server|code).*5\d\d|"
    r"no space left|network is unreachable|tls|certificate",
    re.IGNORECASE,
)
SECRET = re.compile(r"(?<=://)[^/@\s]+@")  # user:password in an address
LIMIT = 1800  # seconds


def run(arguments: Sequence[str | Path], *, cwd: Path, cache: Path, log: Path) -> str:
    """Run `uv`; its stdout. `Unavailable` when the index could not be reached, else `Rejected`."""
    with TemporaryDirectory(prefix="slipway-uv-") as folder:
        output, scratch = Path(folder, "output"), Path(folder, "scratch")
        begun = log.stat().st_size if log.exists() else 0
        process = local.start(
            ["/bin/sh", "-c", 'out="$0"; exec "$@" >"$out"', output, program(), *arguments],
            cwd=cwd,
            log=log,
            scratch=scratch,
            extra={name: value for name, value in os.environ.items() if PASSED.match(name)}
            | {"PATH": f"{Path(sys.executable).resolve().parent}:{local.SYSTEM_PATH}"}
            | {"UV_CACHE_DIR": str(cache), "UV_NO_PROGRESS": "1", "UV_NO_CONFIG": "1", "NO_COLOR": "1"},
        )
        try:
            code = process.wait(LIMIT)
        except local.TimedOut as error:
            raise Unavailable(f"uv {arguments[0]} took longer than {LIMIT // 60} minutes") from error
        if code != 0:
            raise fault(log, begun)
        return output.read_text()


def fault(log: Path, begun: int) -> Rejected | Unavailable:
    """Whose fault the failure is that uv has just written to `log`."""
    with log.open("rb") as file:
        file.seek(begun)
        said = SECRET.sub("***@", file.read().decode(errors="replace")).strip()
    tail = "\n".join(said.splitlines()[-12:])
    if WORLD.search(said):
        return Unavailable(f"the package index could not be used: {tail}")
    return Rejected(f"its environment could not be made: {tail}")


def program() -> str:
    """The uv beside our own interpreter, else the one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Unavailable(
            "uv is not installed beside Slipway: install the project with `make up` or its image"
        )
    return found
