"""The invocation of a model in a process of its own: `train` or `evaluate`, see `ml/model_host`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import RejectedError, UnavailableError
from common.system import disk
from ml.model_host.to_json import is_deeper
from ml.paths import find_export
from ml.runtime.exit_errors import error_message, format_duration, to_exit_error
from ml.sandbox import file_access, local_process, rmtree
from ml.sandbox.confine_command import MODEL_HOST
from ml.sandbox.sandbox import Sandbox

TIMEOUT_VERBS = ("train", "evaluate")  # verbs whose time limit is a setting
NETWORK_VERBS = ("train",)  # verbs that may use the network
MAX_OUTPUT_BYTES = 16 << 20  # bytes of output.json
MAX_OUTPUT_DEPTH = 150  # nested lists and objects in it
OUTPUT_FILES = ("input.json", "output.json", "artifact")  # files that a process leaves for us


@dataclass(frozen=True)
class ModelRuntime:
    """The runtime of a release's code: its environment, source tree, scratch folder and sandbox."""

    environment: Path
    source: Path
    scratch: Path
    sandbox: Sandbox

    @property
    def export(self) -> Path:
        """The folder that its code may read: the source tree, or what was exported around it."""
        return find_export(self.source).resolve()

    @property
    def folder(self) -> Path:
        """The path of the source tree in `export`."""
        return self.source.resolve().relative_to(self.export)


def build_command(runtime: ModelRuntime, verb: str, folder: Path, *more: str) -> list[str | Path]:
    return [
        runtime.environment.resolve() / "bin/python",
        "-I",
        "-u",
        "-X",
        "utf8",
        MODEL_HOST,
        verb,
        folder,
        *more,
    ]


def invoke(
    verb: str,
    request: dict[str, Any],
    *,
    runtime: ModelRuntime,
    folder: Path,
    log: Path,
    timeout: float,
    local_ports: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the result of `verb`, whose files stay in `folder`.

    Raises `RejectedError` with what the model did wrong. Only training has a network. It may also connect to
    the TCP ports `local_ports` on this machine, and finds `env` in its environment.
    """
    folder.mkdir(parents=True)
    folder, source = folder.resolve(), runtime.source.resolve()
    request, reads = resolve_paths({"source": str(source), "repository": str(runtime.export), **request})
    (folder / "input.json").write_text(json.dumps(request))
    process = local_process.start_process(
        build_command(runtime, verb, folder),
        sandbox=runtime.sandbox,
        cwd=source,
        log=log,
        scratch=runtime.scratch,
        ports=runtime.sandbox.ports if verb in NETWORK_VERBS else (),
        local_ports=local_ports if verb in NETWORK_VERBS else (),
        has_sockets=True,
        env=env,
        reads=[runtime.export, *reads],
        writes=[folder],
        environment=runtime.environment,
    )
    try:
        code = wait_for_exit(process, verb, timeout)
        file_access.reclaim_output(folder, OUTPUT_FILES)
        return read_reply(verb, folder / "output.json", code, runtime.sandbox)
    except (RejectedError, UnavailableError):
        if verb == "train":  # nothing else uses what it wrote
            rmtree.remove_tree(runtime.scratch)
        raise


def wait_for_exit(process: local_process.SandboxedProcess, verb: str, timeout: float) -> int:
    """Return the exit code, when the whole process tree has ended."""
    try:
        return process.wait(timeout)
    except local_process.ProcessTimeoutError as error:
        raise RejectedError(
            f"{verb}() was ended at its time limit of {format_duration(timeout)}: make it faster"
            + (
                f", or have the operator raise SLIPWAY_{verb.upper()}_TIMEOUT"
                if verb in TIMEOUT_VERBS
                else ""
            )
        ) from error
    finally:
        process.kill()


def resolve_paths(request: dict[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """Return the request with the real path of every file that it names, and these files."""
    data = request.get("data")
    files = {name: Path(request[name]).resolve() for name in ("artifact", "previous") if request.get(name)}
    resolved = request | {name: str(path) for name, path in files.items()}
    if not data:
        return resolved, list(files.values())
    path = Path(data["path"]).resolve()
    return resolved | {"data": {**data, "path": str(path)}}, [*files.values(), path]


def read_reply(verb: str, output: Path, code: int, limits: Sandbox) -> dict[str, Any]:
    """Return what the process wrote, parsed as untrusted input."""
    if not output.is_file():
        if disk.is_full(output.parent, MAX_OUTPUT_BYTES):
            raise UnavailableError(f"{verb}() gave no answer, and {disk.FULL_MESSAGE}")
        raise to_exit_error(f"{verb}()", code, limits)
    try:
        assert output.stat().st_size <= MAX_OUTPUT_BYTES
        document = json.loads(output.read_bytes())
        assert not is_deeper(document, MAX_OUTPUT_DEPTH)
        if "error" in document:
            message = error_message(document["error"], limits)
            raise (
                UnavailableError(f"{message}: {disk.FULL_MESSAGE}")
                if document["error"].get("limit") == "disk"
                else RejectedError(message)
            )
        result = document["result"]
        assert isinstance(result, dict)
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        raise RejectedError(f"{verb}() wrote something of its own over Slipway's output.json") from error
    return result
