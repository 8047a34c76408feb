"""The repository's own tests: a command of its manifest, run in the model's sandbox in a copy of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from common.errors import RejectedError, UnavailableError
from common.system.limit_checks import EXIT_OUT_OF_DISK, EXIT_OUT_OF_MEMORY
from common.text import make_storable
from db.models import StageName
from ml import stage_log
from ml.builder.context import BuildContext
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.environment import EnvironmentResult
from ml.environments import local_parts
from ml.environments.added_packages import add_packages
from ml.environments.locked_environment import LockedEnvironment
from ml.runtime import exit_errors
from ml.runtime.invoke import ModelRuntime
from ml.runtime.materialize import assemble_runtime
from ml.sandbox import local_process, rmtree
from ml.sandbox.sandbox import NOT_CONFINED_CODE
from ml.stage_log import LogLine

MAX_TAIL_BYTES, MAX_TAIL_LINES = 8 << 10, 5  # of the tests' output, in the reason of a release
MANIFEST_KEYS = {StageName.TEST: "command", StageName.AFTER_TRAIN: "after_train"}  # of [test]
NO_FILES: Mapping[str, Path] = {}
SIGNAL_CODES = 128  # an exit code above it is of a signal
# a shell ends with 126, as a failed sandbox does, when it may not run a command
SHELL_SCRIPT = f'/bin/sh -c "$1"; code=$?; test $code -ne {NOT_CONFINED_CODE} && exit $code; exit 127'


@contextmanager
def open_tests(
    context: BuildContext, checkout: CheckoutResult, environment: EnvironmentResult, stage: StageName
) -> Iterator[ModelRuntime]:
    """Yield the runtime of the repository's tests; the folder of its scratch is deleted afterwards."""
    runtime, wanted, log = environment.runtime, checkout.manifest.test.requirements, context.log_path(stage)
    if wanted is not None:
        locked = LockedEnvironment(environment.lock, environment.python)
        more = add_packages(
            locked, Path(wanted), checkout.source, home=context.home, log=log, sandbox=runtime.sandbox
        )
        runtime = assemble_runtime(more, context.home, context.release.id, log, runtime.sandbox)
    folder = context.folder / stage
    rmtree.remove_tree(folder)  # of a builder that was killed
    folder.mkdir()
    try:
        yield replace(runtime, scratch=folder / "scratch")
    finally:
        rmtree.remove_tree(folder)


def run_tests(
    context: BuildContext,
    stage: StageName,
    command: str,
    runtime: ModelRuntime,
    *,
    log_line: LogLine,
    files: Mapping[str, Path] = NO_FILES,
) -> None:
    """Run a stage's command of the repository, without network; of what it writes only the log stays.

    `files` are those that it may read, by the variable with the path. Raises `RejectedError` with the last
    lines when it fails.
    """
    log_line(command)
    key, log, timeout = MANIFEST_KEYS[stage], context.log_path(stage), context.settings.test_timeout
    begun = log.stat().st_size if log.exists() else 0
    paths = {name: str(path.resolve()) for name, path in files.items()}
    with copy_repository(runtime, runtime.scratch.parent) as copy:
        process = local_process.start_process(
            ["/bin/sh", "-c", SHELL_SCRIPT, "sh", command],
            sandbox=runtime.sandbox,
            cwd=copy / runtime.folder,
            log=log,
            scratch=runtime.scratch,
            ports=(),
            has_sockets=True,
            env={"PYTHONPATH": str(copy / runtime.folder), **paths},
            reads=[runtime.export, *files.values()],
            writes=[copy],
            environment=runtime.environment.resolve(),
        )
        try:
            code = process.wait(timeout)
        except local_process.ProcessTimeoutError as error:
            raise RejectedError(
                f"[test] {key} was ended at its time limit of {exit_errors.format_duration(timeout)}: "
                "make it faster, or have the operator raise SLIPWAY_TEST_TIMEOUT"
            ) from error
        finally:
            process.kill()
    if code:
        raise explain_failure(key, code, runtime, read_tail(log, begun))


def explain_failure(
    key: str, code: int, runtime: ModelRuntime, tail: str
) -> RejectedError | UnavailableError:
    """Return whose fault it is that the tests did not pass; with their last lines where it is theirs."""
    if code in (NOT_CONFINED_CODE, EXIT_OUT_OF_MEMORY, EXIT_OUT_OF_DISK) or code > SIGNAL_CODES:
        return exit_errors.to_exit_error(f"[test] {key}", code, runtime.sandbox)
    return RejectedError(f"[test] {key} ended with code {code}. Its last lines:\n{tail}")


@contextmanager
def copy_repository(runtime: ModelRuntime, parent: Path) -> Iterator[Path]:
    """Yield a copy that the tests may write in; its large files are links to the repository's."""
    export = runtime.export
    with local_parts.temporary_copy(export, parent, runtime.sandbox.user) as copy:
        for path in local_parts.list_large_files(export):
            link = copy / path.relative_to(export)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        yield copy


def read_tail(log: Path, begun: int) -> str:
    """Return the last lines that the tests wrote; the log had `begun` bytes before."""
    found = stage_log.read_last_lines(log, MAX_TAIL_BYTES, begun)
    lines = [line.rstrip() for line in found if line.strip()]
    return make_storable("\n".join(lines[-MAX_TAIL_LINES:]))
