"""The only module that runs uv, which finds interpreters, resolves requirements and builds environments."""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from common.errors import RejectedError, UnavailableError
from common.system import disk
from common.system.limit_checks import EXIT_OUT_OF_DISK, EXIT_OUT_OF_MEMORY
from common.units import format_bytes
from ml import stage_log
from ml.environments import bytecode, index_access, indexes
from ml.environments.egress_proxy import EgressProxy
from ml.environments.relayed_log import relay_log
from ml.paths import HomeLayout
from ml.sandbox import local_process, rmtree
from ml.sandbox.interpreter_record import Interpreter
from ml.sandbox.sandbox import NOT_CONFINED_CODE, Sandbox

UNAVAILABLE_PATTERN = re.compile(
    r"error sending request|dns error|failed to lookup|connection (refused|reset|closed)|timed? ?out|"
    r"failed to fetch.*(5\d\d|429)|status (server|code).*5\d\d|"
    r"network is unreachable|tls|certificate",
    re.IGNORECASE,
)
BUILD_FAILED_PATTERN = re.compile(r"failed to (?:download and )?build `([\w.-]+)==([^`]+)`", re.IGNORECASE)
NEEDS_BUILD_PATTERN = re.compile(
    r"--no-build|no-build|building.*(is|are) disabled|no usable wheels", re.IGNORECASE
)
MAX_SECONDS = 1800
LOGINS_FOLDER = "logins"  # of uv's `credentials.toml`
COMPILE_SECONDS = 600
EXIT_LIMITS = (EXIT_OUT_OF_MEMORY, EXIT_OUT_OF_DISK)
BYTECODE_SCRIPT = Path(bytecode.__file__)


class NeedsBuildError(RejectedError):
    """A failure to go on without running code of a source distribution."""


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
    configuration: str = "",
    without_default: bool = False,
    allow_builds: bool = False,
) -> str:
    """Run `uv` and return its stdout.

    Raises `UnavailableError` when the index could not be reached, else `RejectedError`.

    It runs as a user of its own, under limits, with access only to `cwd`, `reads`, `writes`, its `cache` and
    the folder `pythons` of interpreters that it has downloaded.

    Only with `allow_builds` may it run code of the packages, to build them: then as the model's user, and
    without the credentials of private indexes. Otherwise it has them in a file, since uv expands variables in
    what packages require; what would need a build raises `NeedsBuildError`. `lock` is the file among the
    arguments whose addresses are then rewritten to lead here. Its only network access is a proxy of ours, to
    public addresses and the operator's indexes. `configuration` is the text of a uv.toml, the only one that
    is read; `without_default` leaves the operator's default index out.
    """
    boundary = HomeLayout(sandbox.home).project_boundary
    for folder in (cache, pythons, boundary.parent):
        folder.mkdir(parents=True, exist_ok=True)
    boundary.touch()
    log.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="uv-", dir=log.parent) as name, ExitStack() as stack:
        folder = Path(name).resolve()
        folder.chmod(0o711)
        scratch, log_file = folder / "scratch", folder / "log"
        scratch.mkdir()
        proxy = stack.enter_context(EgressProxy(indexes.trusted_origins(), indexes.upstream_proxies()))
        variables, local_ports, index_proxy = indexes.trusted_env(not without_default), [proxy.port], None
        (folder / "uv.toml").write_text(configuration)
        logins = folder / LOGINS_FOLDER
        logins.mkdir()
        write_logins(
            logins / "credentials.toml",
            "" if allow_builds else indexes.format_credentials(),
            sandbox.for_uv.user,
        )
        # not UV_NO_BUILD, which `uv pip` ignores
        wheels = ["--no-build"] if arguments[0] == "pip" and not allow_builds else []
        if allow_builds:
            variables, index_proxy = stack.enter_context(index_access.open_indexes(not without_default))
            if index_proxy is not None:
                local_ports.append(index_proxy.port)
                proxy.trusted |= {("127.0.0.1", index_proxy.port)}
            if index_proxy is not None and lock is not None:
                lock.write_text(index_proxy.to_proxied_lock(lock.read_text()))
        process = local_process.start_process(
            ["/bin/sh", "-c", 'exec "$@" >"$HOME/.output"', "sh", find_uv(), *arguments, *wheels],
            sandbox=replace(sandbox, counts_growth=True) if allow_builds else sandbox.for_uv,
            cwd=cwd,
            log=log_file,
            scratch=scratch,
            ports=(),
            local_ports=local_ports,
            reads=[
                find_uv(),
                Path(sys.base_prefix),
                folder / "uv.toml",
                boundary,
                pythons,
                *indexes.list_wheel_folders(),
                *reads,
            ],
            writes=[cache, logins, *writes, *([] if allow_builds else [pythons])],
            env=variables | build_variables(arguments[0], folder, cache, pythons) | proxy.proxy_env,
            umask=0o022,
        )
        try:
            with relay_log(log_file, log, indexes.mask_passwords):
                code = process.wait(MAX_SECONDS)
        except local_process.ProcessTimeoutError as error:
            raise UnavailableError(
                f"uv {arguments[0]} took longer than {MAX_SECONDS // 60} minutes"
            ) from error
        finally:
            process.kill()
            output = indexes.mask_passwords(log_file.read_text(errors="replace")).strip()
            if wheels and NEEDS_BUILD_PATTERN.search(output):
                stage_log.stage_logger(log)(
                    "it has to be built: that is done in the model's sandbox, as follows"
                )
        if code in EXIT_LIMITS:
            clear_cache(cache, cwd=cwd, pythons=pythons, log=log, sandbox=sandbox, allow_builds=allow_builds)
        check_exit(code, output, proxy.refused, cwd, sandbox, allow_builds=allow_builds)
        stdout = read_output(scratch / ".output")
        return stdout if index_proxy is None else index_proxy.to_public_lock(stdout)


def build_variables(command: str | Path, folder: Path, cache: Path, pythons: Path) -> dict[str, str]:
    """Return uv's own variables: its configuration, logins and cache, and git without a configuration."""
    mirrors = indexes.mirror_variables() if command == "python" else {}
    return mirrors | {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "PATH": f"{Path(sys.executable).resolve().parent}:{local_process.SYSTEM_PATH}",
        "UV_CACHE_DIR": str(cache.resolve()),
        "UV_PYTHON_INSTALL_DIR": str(pythons.resolve()),
        "UV_PREVIEW_FEATURES": "pylock",
        "UV_CONFIG_FILE": str(folder / "uv.toml"),
        "UV_CREDENTIALS_DIR": str(folder / LOGINS_FOLDER),
        "UV_NO_EDITABLE": "1",
        "NO_COLOR": "1",
    }


def check_exit(
    code: int, output: str, refused: Sequence[str], cwd: Path, sandbox: Sandbox, *, allow_builds: bool
) -> None:
    """Raise the error of a uv that failed; `refused` are the addresses that it may not connect to."""
    if code == NOT_CONFINED_CODE:
        raise UnavailableError(f"uv could not be confined on this machine: {output}")
    if code in EXIT_LIMITS:
        raise RejectedError(describe_excess(code, sandbox))
    if code != 0 and disk.is_full(cwd):
        raise UnavailableError(f"its environment could not be made: {disk.FULL_MESSAGE}")
    if code != 0 and refused:
        raise RejectedError(
            f"its packages may not come from {'; '.join(refused)}. Packages come from the internet "
            "and from the indexes that the operator names (UV_DEFAULT_INDEX, UV_INDEX)"
        )
    if code != 0:
        raise to_error(output, allow_builds=allow_builds)


def write_logins(file: Path, logins: str, user: int | None) -> None:
    """Write a file that only this user can read; None is our own."""
    file.touch(mode=0o600)
    file.write_text(logins)
    if user is not None:
        os.chown(file, user, user)


def describe_excess(code: int, sandbox: Sandbox) -> str:
    """Return a sentence on which limit was exceeded."""
    if code == EXIT_OUT_OF_MEMORY:
        return (
            f"its packages took more than {format_bytes(sandbox.memory)} "
            f"of memory to install ({sandbox.memory_setting})"
        )
    limit = format_bytes(sandbox.disk or 0)
    return f"its packages hold more than {limit} unpacked, twice SLIPWAY_FILE_SIZE, or are too many files"


def clear_cache(
    cache: Path, *, cwd: Path, pythons: Path, log: Path, sandbox: Sandbox, allow_builds: bool
) -> None:
    """Remove what filled the cache; uv waits until no other uv works in it."""
    if allow_builds:
        rmtree.remove_tree(cache)
        return
    free = replace(sandbox, disk=None)
    with suppress(RejectedError, UnavailableError):
        run(["cache", "clean"], cwd=cwd, cache=cache, pythons=pythons, log=log, sandbox=free)


def compile_bytecode(
    staged: Path, interpreter: Interpreter, log: Path, sandbox: Sandbox, *, allow_builds: bool
) -> None:
    """Compile what was installed in `staged`, by an interpreter outside of it that runs no code of packages.

    It is sandboxed like the uv that installed them: as the model's user with `allow_builds`.
    """
    packages = staged.resolve() / "lib" / interpreter.minor / "site-packages"
    with TemporaryDirectory(prefix="uv-", dir=log.parent) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)
        process = local_process.start_process(
            [interpreter.executable, "-I", "-S", BYTECODE_SCRIPT, packages],
            sandbox=sandbox if allow_builds else sandbox.for_uv,
            cwd=folder,
            log=log,
            scratch=folder / "scratch",
            ports=(),
            reads=[BYTECODE_SCRIPT, *interpreter.prefixes],
            writes=[staged],
            umask=0o022,
        )
        try:
            if process.wait(COMPILE_SECONDS) != 0:
                stage_log.stage_logger(log)(
                    "its modules could not be compiled: each process of this model starts slowly"
                )
        except local_process.ProcessTimeoutError as error:
            minutes = COMPILE_SECONDS // 60
            raise RejectedError(f"its packages took longer than {minutes} minutes to compile") from error
        finally:
            process.kill()


def read_output(output: Path) -> str:
    """Return what it printed; untrusted code may have put a link in the file's place."""
    if output.is_symlink() or not output.is_file() or output.stat().st_size > 16 << 20:
        raise RejectedError("a package that was built for it wrote over Slipway's files")
    return output.read_text()


def to_error(output: str, *, allow_builds: bool) -> RejectedError | UnavailableError:
    """Return the error for a failure of uv, by whose fault its output shows it to be."""
    tail = "\n".join(output.splitlines()[-12:])
    if disk.is_disk_full_message(output):
        return UnavailableError(f"its environment could not be made: {disk.FULL_MESSAGE}\n{tail}")
    if not allow_builds and NEEDS_BUILD_PATTERN.search(output):
        return NeedsBuildError(f"its environment could not be made: {tail}")
    if UNAVAILABLE_PATTERN.search(output):
        return UnavailableError(f"the package index could not be used: {tail}")
    if failed := BUILD_FAILED_PATTERN.search(output):
        return RejectedError(
            f"{failed[1]} {failed[2]} has no wheel for this Python, and its build failed: raise its pin, or "
            "put an older Python, as 3.8, into .python-version. The log of this stage has its output"
        )
    return RejectedError(f"its environment could not be made: {tail}")


def find_uv() -> Path:
    """Return the uv next to our own interpreter, else the one on PATH."""
    bundled = Path(sys.executable).with_name("uv")
    found = str(bundled) if bundled.exists() else shutil.which("uv")
    if found is None:
        raise UnavailableError(
            "uv is not installed with Slipway: install the project with `make up` or its image"
        )
    return Path(found)
