"""The start of a release's workers, including the restore of whatever files are missing."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from common.system.threads import run_in_thread
from db.models import Release
from ml.paths import HomeLayout
from ml.runtime.materialize import MaterializedRelease, materialize_release
from ml.serving.counters import WorkerStats
from ml.serving.workers.launch import WorkerSpec
from ml.serving.workers.pool import CrashHandler, Pool, PoolLimits, StartFailureHandler
from ml.serving.workers.responses import Label
from ml.settings import MlSettings, ModelConfig

MakeRoom = Callable[[int], Awaitable[None]]  # the bytes that workers may take, before they are started


async def start_pool(
    model: ModelConfig,
    settings: MlSettings,
    release: Release,
    limits: PoolLimits,
    log_line: Callable[[str], None],
    *,
    stats: WorkerStats | None = None,
    on_crash: CrashHandler | None = None,
    on_start_failure: StartFailureHandler | None = None,
    make_room: MakeRoom | None = None,
    hides_errors: bool = False,
) -> Pool:
    """Return an open pool, which the caller closes; `log_line` gets the steps that take long.

    Raises `RejectedError` when the release cannot run, `UnavailableError` when it cannot be restored now.
    """
    ready = await run_in_thread(materialize_release, settings, model, release, log_line)
    runtime = replace(ready.runtime, sandbox=ready.runtime.sandbox.for_serving)
    if make_room is not None:
        await make_room(limits.workers * runtime.sandbox.memory)
    folder = HomeLayout(settings.home.absolute()).release_path(release.id) / "serve"
    spec = make_worker_spec(replace(ready, runtime=runtime), release, folder)
    spec = replace(spec, hides_errors=hides_errors)
    limits = replace(limits, load_timeout=ready.load_timeout)
    label = Label(release.model, release.id, release.commit)
    pool = Pool(spec, limits, label, stats, on_crash=on_crash, on_start_failure=on_start_failure)
    await pool.open()
    return pool


def make_worker_spec(ready: MaterializedRelease, release: Release, folder: Path) -> WorkerSpec:
    """Return what a worker of the release is started from; `folder` gets its input.json."""
    return WorkerSpec(ready.runtime, ready.artifact.path, ready.entry_point, release.kind, ready.log, folder)
