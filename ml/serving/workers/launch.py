"""The start of a worker's process, with our end of its socket."""

import json
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from ml.runtime import invoke
from ml.sandbox import local_process

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class WorkerSpec:
    """Everything that a worker of one release is started from."""

    runtime: invoke.ModelRuntime
    artifact: Path
    entry_point: str
    kind: str | None
    log: Path
    folder: Path  # of its input.json
    hides_errors: bool = False  # whose texts may repeat features that are not stored


def get_thread_limits() -> dict[str, str]:
    """Return the threads of numeric libraries: one, unless the operator or the repository sets more.

    Threads of a small model take more time to wait for each other than they save.
    """
    return {"OMP_NUM_THREADS": "1"} | {
        name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ
    }


def launch_worker(spec: WorkerSpec) -> tuple[local_process.SandboxedProcess, socket.socket]:
    """Start the process and return it with our end of its socket; blocking."""
    write_input(spec)
    ours, theirs = socket.socketpair()
    with theirs:
        process = local_process.start_process(
            invoke.build_command(spec.runtime, "serve", spec.folder.resolve(), str(theirs.fileno())),
            sandbox=spec.runtime.sandbox,
            cwd=spec.runtime.source,
            log=spec.log,
            scratch=spec.runtime.scratch,
            ports=(),
            reads=[spec.runtime.export, spec.artifact, spec.folder],
            environment=spec.runtime.environment,
            pass_fd=theirs.fileno(),
            env=get_thread_limits(),
        )
    return process, ours


def write_input(spec: WorkerSpec) -> None:
    """Write the worker's input.json, which several workers may do at once."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    question = {
        "source": str(spec.runtime.source.resolve()),
        "repository": str(spec.runtime.export),
        "entry_point": spec.entry_point,
        "artifact": str(spec.artifact.resolve()),
        "kind": spec.kind,
        "hides_errors": spec.hides_errors,
    }
    # several workers may start at once, also those of another appliance
    written = spec.folder / f"input.{os.getpid()}.{threading.get_ident()}.json"
    written.write_text(json.dumps(question))
    written.rename(spec.folder / "input.json")
