"""Runs foreign code on this machine: clean environment, log, time limit, an end for the whole tree."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from loguru import logger

from common.leash import LEASH, kill_below
from ml.environments.record import read_record
from ml.runner.sandbox import CERTIFICATES, Sandbox, prefix

# what a process needs to speak TLS as this machine does; no setting of ours is among them
MACHINE = ("LANG", "TZ", *CERTIFICATES)
LOG_LIMIT = 16 << 20  # bytes
GUARD_SECONDS = 10.0  # in which a guard has to have ended what it holds: then we do that
BELOW_SECONDS = 60.0  # in which that has to be done
GENTLY = 10  # the nice value of a worker that loads its model
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class TimedOut(Exception):
    """It ran longer than it may, and was ended."""


class Process:
    """A tree of foreign processes on a leash that we hold: it ends with us, or when we let go."""

    def __init__(self, leash: subprocess.Popen[bytes]) -> None:
        self._leash = leash
        self.pid = leash.pid

    def poll(self) -> int | None:
        """The exit code (128 + n for signal n), None while it runs."""
        return self._leash.poll()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises `TimedOut` after `timeout` seconds, when it has been ended."""
        try:
            return self._leash.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise TimedOut from error

    def step_up(self) -> None:
        """What was started `gently` is as important as others from now on."""
        with suppress(ProcessLookupError):
            self._leash.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """End the whole tree, at once."""
        assert self._leash.stdin is not None
        with suppress(OSError):
            self._leash.stdin.close()
        try:
            self._leash.wait(GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            if not kill_below(self.pid, BELOW_SECONDS):
                logger.error("processes of a model did not end within {:g} s", BELOW_SECONDS)
            self._leash.kill()
            self._leash.wait()

    close = kill


def start(
    argv: Sequence[str | Path],
    *,
    sandbox: Sandbox,
    cwd: Path,
    log: Path,
    scratch: Path,
    ports: Sequence[int] | None,
    here: Sequence[int] = (),
    has_sockets: bool = False,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    environment: Path | None = None,
    pass_fd: int | None = None,
    extra: Mapping[str, str] | None = None,
    umask: int = 0o077,
) -> Process:
    """Start `argv` in the sandbox; stdout and stderr go to the end of `log`, HOME and TMPDIR are `scratch`.

    It reads `cwd` and `reads`, writes `scratch` and `writes`, and connects to these TCP `ports`, to those
    `here` on this machine as well: none of them, no network; `ports` None, any. With a network, or with
    `has_sockets`, its processes talk by sockets in the folders that it writes. `environment` is a virtual
    environment whose programs come first on PATH; `pass_fd` is inherited. What has one is a worker: its log
    begins anew when that is full, and it steps back behind those that answer until `Process.step_up`.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch.resolve()
    held = prefix(
        sandbox,
        cwd=cwd.resolve(),
        reads=[path.resolve() for path in reads] + interpreters(environment),
        writes=[scratch, *(path.resolve() for path in writes)],
        ports=ports,
        here=here,
        has_sockets=has_sockets or bool(ports or here),
        umask=umask,
    )
    options = ["--log", str(LOG_LIMIT), "--memory", str(sandbox.memory)]
    options += ["--processes", str(sandbox.processes)]
    if sandbox.disk:
        options += ["--disk", str(sandbox.disk), *(["--growth"] if sandbox.counts_growth else [])]
        options += [word for folder in (scratch, *writes) for word in ("--below", str(folder.resolve()))]
    options += [] if pass_fd is None else ["--log-anew", "--pass", str(pass_fd), "--gently", str(GENTLY)]
    names = {"RES_OPTIONS": "use-vc"} if ports or here else {}  # asked for by TCP: there is no UDP
    with log.open("ab") as output:
        leash = subprocess.Popen(
            [*LEASH, *options, "0", "SIGKILL", *held, *map(str, argv)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=clean_environment(scratch, environment) | names | dict(extra or {}),
            pass_fds=() if pass_fd is None else (pass_fd,),
            start_new_session=True,
        )
    return Process(leash)


def interpreters(environment: Path | None) -> list[Path]:
    """The environment, and the Python that it was made of, by all names that lead there."""
    if environment is None:
        return []
    return [environment.resolve(), *read_record(environment).prefixes]


def clean_environment(scratch: Path, environment: Path | None) -> dict[str, str]:
    """What foreign code gets to see: no token, no database, nothing of ours."""
    kept = {name: os.environ[name] for name in MACHINE if name in os.environ}
    path = f"{environment}/bin:{SYSTEM_PATH}" if environment else SYSTEM_PATH
    own = {"PATH": path, "HOME": str(scratch), "TMPDIR": str(scratch)}
    own |= {"USER": "model", "LOGNAME": "model"}  # its user has no account to look these up in
    own |= {"SLIPWAY_WORKPLACE": f"{scratch}/repository"}  # for ml/model/workplace.py
    return {"LANG": "C.UTF-8"} | kept | own | ({"VIRTUAL_ENV": str(environment)} if environment else {})
