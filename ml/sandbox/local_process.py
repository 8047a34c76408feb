"""The start of untrusted code on this machine: clean environment, log, time limit, kill of the whole tree."""

import os
import signal
import subprocess
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from loguru import logger

from common.system.process_guard import GUARD_COMMAND
from common.system.process_tree import kill_descendants
from ml.sandbox.confine_command import CERTIFICATES, confine_prefix
from ml.sandbox.interpreter_record import read_record
from ml.sandbox.sandbox import Sandbox

# variables that a process needs for TLS as on this machine; no setting of ours is among them
PASSED_VARIABLES = ("LANG", "TZ", *CERTIFICATES)
MAX_LOG_BYTES = 16 << 20  # bytes
GUARD_SECONDS = 10.0  # seconds in which a guard has to have ended its processes: then we do that
KILL_SECONDS = 60.0  # seconds in which that has to be done
LOADING_NICENESS = 10  # the nice value of a worker that loads its model
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class ProcessTimeoutError(Exception):
    """A process that ran longer than its limit, and was ended."""


class ProcessScope:
    """The processes that a thread starts, which another thread may end; thread-safe."""

    _of_thread = threading.local()

    def __init__(self) -> None:
        self._processes: weakref.WeakSet[SandboxedProcess] = weakref.WeakSet()
        self._lock, self._closed = threading.Lock(), False

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take the processes that this thread starts from now on."""
        self._of_thread.scope = self
        try:
            yield
        finally:
            del self._of_thread.scope

    def close(self) -> None:
        """Kill every process, and each that is started later."""
        with self._lock:
            self._closed, running = True, list(self._processes)
        for process in running:
            process.kill()

    @classmethod
    def add(cls, process: "SandboxedProcess") -> None:
        """Add a process to the scope of this thread; kill it when that is closed."""
        scope: ProcessScope | None = getattr(cls._of_thread, "scope", None)
        if scope is None:
            return
        with scope._lock:
            scope._processes.add(process)
            is_late = scope._closed
        if is_late:
            process.kill()


class SandboxedProcess:
    """A tree of untrusted processes under a process guard.

    It ends with us, or when we close the guard's stdin.
    """

    def __init__(self, guard: subprocess.Popen[bytes]) -> None:
        self._guard = guard
        self.pid = guard.pid

    def poll(self) -> int | None:
        """Return the exit code (128 + n for signal n), None while it runs."""
        return self._guard.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; after `timeout` seconds, kill the tree and raise `ProcessTimeoutError`."""
        try:
            return self._guard.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ProcessTimeoutError from error

    def restore_priority(self) -> None:
        """Restore the normal priority of a process that was started with a nice value."""
        with suppress(ProcessLookupError):
            self._guard.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """Kill the whole tree, at once."""
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            if not kill_descendants(self.pid, KILL_SECONDS):
                logger.error("processes of a model did not end within {:g} s", KILL_SECONDS)
            self._guard.kill()
            self._guard.wait()

    close = kill


def start_process(
    argv: Sequence[str | Path],
    *,
    sandbox: Sandbox,
    cwd: Path,
    log: Path,
    scratch: Path,
    ports: Sequence[int] | None,
    local_ports: Sequence[int] = (),
    has_sockets: bool = False,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    environment: Path | None = None,
    pass_fd: int | None = None,
    env: Mapping[str, str] | None = None,
    umask: int = 0o077,
) -> SandboxedProcess:
    """Start `argv` in the sandbox; stdout and stderr go to the end of `log`, HOME and TMPDIR are `scratch`.

    It reads `cwd` and `reads`, writes `scratch` and `writes`, and connects to these TCP `ports`, to
    `local_ports` on this machine as well: none of them, no network; `ports` None, any. With a network, or
    with `has_sockets`, its processes communicate by sockets in the folders that it writes. `environment` is a
    virtual environment whose programs come first on PATH; `pass_fd` is inherited. A process with one is a
    worker: its log is truncated when it is full, and it has a lower priority until
    `SandboxedProcess.restore_priority`, which is not for one whose sandbox has a `niceness`.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch.resolve()
    prefix = confine_prefix(
        sandbox,
        cwd=cwd.resolve(),
        reads=[path.resolve() for path in reads] + interpreter_paths(environment),
        writes=[scratch, *(path.resolve() for path in writes)],
        ports=ports,
        local_ports=local_ports,
        has_sockets=has_sockets or bool(ports or local_ports),
        umask=umask,
    )
    options = ["--log", str(MAX_LOG_BYTES), "--memory", str(sandbox.memory)]
    options += ["--processes", str(sandbox.processes)]
    if sandbox.disk:
        options += ["--disk", str(sandbox.disk), *(["--growth"] if sandbox.counts_growth else [])]
        options += ["--shared"] if sandbox.shares_folders else []
        options += [word for folder in (scratch, *writes) for word in ("--below", str(folder.resolve()))]
    if pass_fd is not None:
        niceness = max(LOADING_NICENESS, sandbox.niceness)
        options += ["--log-anew", "--pass", str(pass_fd), "--gently", str(niceness)]
    # names are resolved by TCP: there is no UDP
    resolver_options = {"RES_OPTIONS": "use-vc"} if ports or local_ports else {}
    with log.open("ab") as output:
        guard = subprocess.Popen(
            [*GUARD_COMMAND, *options, "0", "SIGKILL", *prefix, *map(str, argv)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=clean_environment(scratch, environment) | resolver_options | dict(env or {}),
            pass_fds=() if pass_fd is None else (pass_fd,),
            start_new_session=True,
        )
    process = SandboxedProcess(guard)
    ProcessScope.add(process)
    return process


def interpreter_paths(environment: Path | None) -> list[Path]:
    """Return the environment, and the Python that it was made of, by all names that lead there."""
    if environment is None:
        return []
    return [environment.resolve(), *read_record(environment).prefixes]


def clean_environment(scratch: Path, environment: Path | None) -> dict[str, str]:
    """Return the environment variables of untrusted code: no token, no database, nothing of ours."""
    passed = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    path = f"{environment}/bin:{SYSTEM_PATH}" if environment else SYSTEM_PATH
    own = {"PATH": path, "HOME": str(scratch), "TMPDIR": str(scratch)}
    own |= {"USER": "model", "LOGNAME": "model"}  # its user has no account to look these up in
    own |= {"PYTHONUNBUFFERED": "1"}  # the output of child processes is flushed before they are ended
    own |= {"SLIPWAY_WORKPLACE": f"{scratch}/repository"}  # for ml/model_host/workdir.py
    return {"LANG": "C.UTF-8"} | passed | own | ({"VIRTUAL_ENV": str(environment)} if environment else {})
