"""One preview: a worker of a release that answers operators, with little claim to the machine."""

import asyncio
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from common.errors import RejectedError, UnavailableError
from common.plain import escape_lines
from common.system import filelock
from common.system.threads import run_in_thread
from db.models import Release
from ml.paths import HomeLayout
from ml.runtime import exit_errors
from ml.runtime.materialize import MaterializedRelease, materialize_release
from ml.sandbox import rmtree
from ml.sandbox.local_process import ProcessScope
from ml.sandbox.sandbox import Sandbox
from ml.serving.deployer.startup import make_worker_spec
from ml.serving.preview.problems import Ending
from ml.serving.preview.replay import Replay
from ml.serving.registry import LoadedRelease
from ml.serving.request_body import overloaded_problem
from ml.serving.workers.pool import Pool, PoolLimits
from ml.serving.workers.responses import Label
from ml.serving.workers.worker import Worker
from ml.settings import MlSettings, ModelConfig

LOG_NAME = "preview"  # of its worker's log, among the logs of the release
NICENESS = 19  # the lowest priority of the processor
MAX_REQUESTS = 8  # that one preview may have at a time
EXIT_SECONDS = 2.0  # in which a worker whose socket is closed has to end by itself
MAX_LOG_LINES, MAX_LOG_BYTES = 20, 4 << 10  # of the log of a worker that failed

EndHandler = Callable[["Preview", Ending], Awaitable[None]]


class PreviewState(Enum):
    """The state of a preview: each goes on to the next, or to the last."""

    STARTING = "starting"
    READY = "ready"
    ENDED = "ended"


class Preview:
    """The preview of one release; `on_end` is called when its worker ended, or nobody has used it."""

    def __init__(self, release: Release, idle_seconds: float, on_end: EndHandler) -> None:
        self.release, self.state = release, PreviewState.STARTING
        self.activity = "starting"  # what is being done, in words
        self.loaded: LoadedRelease | None = None  # once it is ready
        self.replays: dict[int | None, Replay] = {}  # by the live release that it is compared with
        self.replay_lock, self.is_replaying = asyncio.Lock(), False
        self.in_use = 0  # requests
        self._idle_seconds, self._on_end = idle_seconds, on_end
        self._used_at = time.monotonic()
        self._log: Path | None = None  # both once it is opened
        self._scratch: Path | None = None
        self._log_start = 0  # where this worker's part of the log begins
        self._is_log_closed = False  # True when nothing that the worker prints is kept any more
        self._pool: Pool | None = None
        self._locks, self._processes = ExitStack(), ProcessScope()
        self._restoring: asyncio.Future[MaterializedRelease] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None  # referenced: the event loop itself holds none
        self.closing: asyncio.Task[None] | None = None  # once it has ended

    async def open(
        self, settings: MlSettings, model: ModelConfig, memory: int, reference_data: dict[str, Any]
    ) -> None:
        """Restore the release and load its model, within `memory` bytes.

        Raises `RejectedError` and `UnavailableError`.
        """
        home, release = HomeLayout(settings.home.absolute()), self.release
        for lock in (home.preview_lock(release.id), home.isolation_lock(release.isolation)):
            self._locks.enter_context(filelock.acquire_shared(lock))  # garbage collection leaves the files
        self._scratch, self._log = home.preview_scratch(release.id), home.log_path(release.id, LOG_NAME)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self._restoring = asyncio.ensure_future(
            run_in_thread(self._restore, settings, model, memory, self._scratch)
        )
        self._restoring.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieved
        ready = await asyncio.shield(self._restoring)
        self.activity = "loading the model"
        limits = PoolLimits(1, settings.predict_timeout, ready.load_timeout)
        label = Label(release.model, release.id, release.commit)
        spec = make_worker_spec(ready, release, home.release_path(release.id) / LOG_NAME)
        pool = self._pool = Pool(spec, limits, label, on_exit=self._on_worker_exit)
        await pool.open()
        self.state = PreviewState.READY
        self.loaded = LoadedRelease(release=release, pool=pool, reference_data=reference_data)
        self._used_at = time.monotonic()
        self._check_idle()

    @contextmanager
    def use(self) -> Iterator[None]:
        """Keep it from being stopped as idle while a request is answered; raises `ProblemError`, too many."""
        if self.in_use >= MAX_REQUESTS:
            raise overloaded_problem(f"{MAX_REQUESTS} requests to this preview wait already")
        self.in_use += 1
        try:
            yield
        finally:
            self.in_use -= 1
            self._used_at = time.monotonic()

    def touch(self) -> None:
        """Count a visit of its page as a use."""
        self._used_at = time.monotonic()

    async def close(self) -> None:
        """Stop its worker, or what it is restored by; requests that wait get a 503."""
        self.state = PreviewState.ENDED
        if self._timer is not None:
            self._timer.cancel()
        await run_in_thread(self._processes.close)
        if self._pool is not None:
            await self._pool.close()
        if self._restoring is None or self._restoring.done():
            await run_in_thread(self._release_files)
        else:  # git, or the disk: its thread ends by itself, and uses the files until then
            release = threading.Thread(target=self._release_files, daemon=True)
            self._restoring.add_done_callback(lambda _: release.start())

    def close_log(self) -> None:
        """Keep the log as it is: what the worker prints from now on is lost; blocking. Raises `OSError`."""
        if self._log is not None and not self._is_log_closed:
            copy = self._log.with_suffix(".copy")
            shutil.copyfile(self._log, copy)
            copy.replace(self._log)  # the worker's file has no name any more
            self._is_log_closed = True

    def read_log_end(self) -> str:
        """Return the last lines that this worker wrote, unless they are not kept; blocking."""
        if self._log is None or self._is_log_closed or not self._log.is_file():
            return ""
        with self._log.open("rb") as file:
            size = file.seek(0, 2)
            start = self._log_start if self._log_start <= size else 0  # the log was full, and began again
            file.seek(max(start, size - MAX_LOG_BYTES))
            text = file.read(MAX_LOG_BYTES).decode(errors="replace")
        return "\n".join(escape_lines(text).strip().split("\n")[-MAX_LOG_LINES:])

    def _restore(
        self, settings: MlSettings, model: ModelConfig, memory: int, scratch: Path
    ) -> MaterializedRelease:
        """Restore the release in a thread of its own, whose processes `close` ends."""
        with self._processes.enter():
            rmtree.remove_tree(scratch)
            ready = materialize_release(
                settings,
                model,
                self.release,
                self._set_activity,
                log_name=LOG_NAME,
                restrict=partial(restrict, memory=memory),
            )
            return replace(ready, runtime=replace(ready.runtime, scratch=scratch))

    def _release_files(self) -> None:
        if self._scratch is not None:
            rmtree.remove_tree(self._scratch)  # it may hold what recorded requests have left
        self._locks.close()

    def _set_activity(self, activity: str) -> None:
        if self.state is PreviewState.ENDED:
            raise UnavailableError("the preview was stopped")
        self.activity = activity

    def _check_idle(self) -> None:
        left = self._idle_seconds - (0 if self.in_use else time.monotonic() - self._used_at)
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._check_idle)
            return
        reason = f"it was stopped after {exit_errors.format_duration(self._idle_seconds)} without a request"
        ending = self._on_end(self, Ending("The preview has ended", reason))
        self._ending = asyncio.ensure_future(ending)

    async def _on_worker_exit(self, worker: Worker) -> None:
        assert self._pool is not None
        reason = await explain_exit(worker, self._pool)
        await worker.stop()
        log = await run_in_thread(self.read_log_end)
        await self._on_end(self, Ending("The preview has ended", reason, status=500, log=log))


def restrict(sandbox: Sandbox, memory: int) -> Sandbox:
    """Return the same with at most `memory` bytes, and the lowest priority."""
    if memory < sandbox.memory:
        sandbox = replace(sandbox, memory=memory, memory_setting="SLIPWAY_PREVIEW_MEMORY")
    return replace(sandbox, niceness=NICENESS)


async def explain_exit(worker: Worker, pool: Pool) -> str:
    """Return why a worker that was ready has ended."""
    if worker.protocol_error is not None:
        return f"it was ended for a protocol error: {worker.protocol_error}"
    code = await worker.wait_for_exit(EXIT_SECONDS)
    if code is None:
        timeout = exit_errors.format_duration(pool.limits.predict_timeout)
        return f"it was ended: it took longer than {timeout} for a prediction (SLIPWAY_PREDICT_TIMEOUT)"
    return exit_errors.explain_exit("it", code, pool.spec.runtime.sandbox)


def explain_failed_start(fault: Exception, log: str) -> Ending:
    """Return the ending of a preview that did not start: the model's fault, the world's, or ours."""
    if isinstance(fault, UnavailableError):
        return Ending("The preview did not start", str(fault), log=log)
    reason = (
        str(fault) if isinstance(fault, RejectedError) else "a fault of Slipway's; its log has the details"
    )
    return Ending("The preview did not start", reason, status=500, log=log)
