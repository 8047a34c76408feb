"""The door to uv, which finds interpreters, resolves requirements and makes environments."""

import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from common.leash import OUT_OF_DISK, OUT_OF_MEMORY
from ml import disk
from ml.environments.egress_proxy import EgressProxy
from ml.environments.record import Interpreter
from ml.errors import Rejected, Unavailable
from ml.quantities import written
from ml.runner import indexes, local, trees
from ml.runner.sandbox import NOT_CONFINED, Sandbox

WORLD = re.compile(
    r"error sending request|dns error|failed to lookup|connection (refused|reset|closed)|timed? ?out|"
    r"failed to fetch.*(5\d\d|429)|status (server|code).*5\d\d|"
    r"network is unreachable|tls|certificate",
    re.IGNORECASE,
)
NEEDS_A_BUILD = re.compile(r"--no-build|no-build|building.*(is|are) disabled|no usable wheels", re.IGNORECASE)
LIMIT = 1800  # seconds
COMPILE_SECONDS = 600


class Foreign(Rejected):
    """It cannot be done without running code of a source distribution."""


def run(
    arguments: Sequence[str | Path],
    *,
    cwd: Path,
    cache: Path,
    pythons: Path,
    log: Path,
    sandbox: Sandbox,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    lock: Path | None = None,
    foreign: bool = False,
) -> str:
    """Run `uv`; its stdout. `Unavailable` when the index could not be reached, else `Rejected`.

    It runs as a user of its own, held to limits, with nothing open but `cwd`, `reads`, `writes`, its `cache`
    and the folder `pythons` of interpreters that it has fetched.

    Only with `foreign` may it run code of the packages, to build them: then as the model's user, and the
    credentials of private indexes stay here. Without, it has them; what would need a build raises `Foreign`.
    `lock` is the file among the arguments whose addresses are then made to lead here. Its only way out is a
    proxy of ours, to public addresses and the operator's indexes.
    """
    for folder in (cache, pythons):
        folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="uv-", dir=log.parent) as name, ExitStack() as until_done:
        folder = Path(name).resolve()
        folder.chmod(0o711)
        scratch, said = folder / "scratch", folder / "log"
        scratch.mkdir()
        proxy = until_done.enter_context(EgressProxy(indexes.trusted_origins(), indexes.upstream()))
        variables, here, doorway = indexes.trusted_variables(), [proxy.port], None
        # not UV_NO_BUILD, to which `uv pip` pays no heed
        wheels = ["--no-build"] if arguments[0] == "pip" and not foreign else []
        if foreign:
            variables, doorway = until_done.enter_context(indexes.without_credentials())
            if doorway is not None:
                here.append(doorway.port)
                proxy.trusted |= {("127.0.0.1", doorway.port)}
            if doorway is not None and lock is not None:
                lock.write_text(doorway.as_here(lock.read_text()))
        process = local.start(
            ["/bin/sh", "-c", 'exec "$@" >"$HOME/.output"', "sh", program(), *arguments, *wheels],
            sandbox=replace(sandbox, counts_growth=True) if foreign else sandbox.for_uv,
            cwd=cwd,
            log=said,
            scratch=scratch,
            ports=(),
            here=here,
            reads=[program(), Path(sys.base_prefix), pythons, *indexes.folders(), *reads],
            writes=[cache, *writes, *([] if foreign else [pythons])],
            extra=variables
            | proxy.variables
            | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
            | {"PATH": f"{Path(sys.executable).resolve().parent}:{local.SYSTEM_PATH}"}
            | {"UV_CACHE_DIR": str(cache.resolve()), "UV_PYTHON_INSTALL_DIR": str(pythons.resolve())}
            | {"UV_PREVIEW_FEATURES": "pylock", "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"},
            umask=0o022,
        )
        try:
            code = process.wait(LIMIT)
        except local.TimedOut as error:
            raise Unavailable(f"uv {arguments[0]} took longer than {LIMIT // 60} minutes") from error
        finally:
            process.kill()
            told = indexes.mask(said.read_text(errors="replace")).strip()
            if wheels and NEEDS_A_BUILD.search(told):
                told += "\nIt has to be built: that is done in the model's sandbox, as follows."
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as kept:
                kept.write(told + "\n" if told else "")
        if code == NOT_CONFINED:
            raise Unavailable(f"uv could not be confined on this machine: {told}")
        if code in (OUT_OF_MEMORY, OUT_OF_DISK):
            clear_cache(cache, cwd=cwd, pythons=pythons, log=log, sandbox=sandbox, foreign=foreign)
            raise Rejected(excess(code, sandbox))
        if code != 0 and disk.is_full(cwd):
            raise Unavailable(f"its environment could not be made: {disk.FULL}")
        if code != 0 and proxy.refused:
            raise Rejected(
                f"its packages may not come from {'; '.join(proxy.refused)}. Packages come from the internet "
                "and from the indexes that the operator names (UV_DEFAULT_INDEX, UV_INDEX)"
            )
        if code != 0:
            raise fault(told)
        printed = plain(scratch / ".output")
        return printed if doorway is None else doorway.as_outside(printed)


def excess(code: int, sandbox: Sandbox) -> str:
    """Return in words which limit was passed."""
    if code == OUT_OF_MEMORY:
        return f"its packages took more than {written(sandbox.memory)} of memory to install (SLIPWAY_MEMORY)"
    most = written(sandbox.disk or 0)
    return f"its packages hold more than {most} unpacked, twice SLIPWAY_FILE_SIZE, or are too many files"


def clear_cache(cache: Path, *, cwd: Path, pythons: Path, log: Path, sandbox: Sandbox, foreign: bool) -> None:
    """Take away what filled the cache; uv waits until no other uv works in it."""
    if foreign:
        trees.remove(cache)
        return
    free = replace(sandbox, disk=None)
    with suppress(Rejected, Unavailable):
        run(["cache", "clean"], cwd=cwd, cache=cache, pythons=pythons, log=log, sandbox=free)


def compile_bytecode(
    staged: Path, interpreter: Interpreter, log: Path, sandbox: Sandbox, *, foreign: bool
) -> None:
    """Compile what was installed in `staged`, by an interpreter outside of it that runs no code of packages.

    It is held like the uv that installed them: as the model's user where packages were built (`foreign`).
    """
    packages = staged.resolve() / "lib" / interpreter.minor / "site-packages"
    with TemporaryDirectory(prefix="uv-", dir=log.parent) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)
        process = local.start(
            [interpreter.executable, "-I", "-S", "-m", "compileall", "-q", "-j0", packages],
            sandbox=sandbox if foreign else sandbox.for_uv,
            cwd=folder,
            log=log,
            scratch=folder / "scratch",
            ports=(),
            reads=interpreter.prefixes,
            writes=[staged],
            umask=0o022,
        )
        try:
            process.wait(COMPILE_SECONDS)  # its code says only that a file is for another Python
        except local.TimedOut as error:
            minutes = COMPILE_SECONDS // 60
            raise Rejected(f"its packages took longer than {minutes} minutes to compile") from error
        finally:
            process.kill()


def plain(output: Path) -> str:
    """What it printed: foreign code may have put a link in the file's place."""
    if output.is_symlink() or not output.is_file() or output.stat().st_size > 16 << 20:
        raise Rejected("a package that was built for it wrote over Slipway's files")
    return output.read_text()


def fault(said: str) -> Rejected | Unavailable:
    """Whose fault the failure is that uv has told of."""
    tail = "\n".join(said.splitlines()[-12:])
    if disk.says_full(said):
        return Unavailable(f"its environment could not be made: {disk.FULL}\n{tail}")
    if NEEDS_A_BUILD.search(said):
        return Foreign(f"its environment could not be made: {tail}")
    if WORLD.search(said):
        return Unavailable(f"the package index could not be used: {tail}")
    return Rejected(f"its environment could not be made: {tail}")


def program() -> Path:
    """The uv beside our own interpreter, else the one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Unavailable(
            "uv is not installed beside Slipway: install the project with `make up` or its image"
        )
    return Path(found)
