"""The sandbox of one model's code: its user, its limits, what it reads, writes and connects to."""

import os
import stat
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ml.manifest import Resources
from ml.sandbox import uids
from ml.settings import MlSettings, ModelConfig

NOT_CONFINED_CODE = 126  # the exit code of `confine` where it failed
# In thousandths of the machine's memory, which the kernel adds to what a process uses. They differ by more
# than the share of memory that a model may have by default; Postgres and the services have 0.
MAX_OOM_SCORE, SERVING_OOM_SCORE = 1000, 200
PRIVATE_FOLDERS = ("repositories", "logs", "postgres", "demo", "singer", "mlflow", "tracking")


@dataclass(frozen=True)
class Sandbox:
    """The sandbox of one model on this appliance. Sizes are in bytes; `home` is resolved."""

    home: Path
    model: str  # the name by which its code is kept apart: a check has its own
    user: int | None  # None: the same as the service's
    memory: int
    file_size: int
    processes: int
    ports: tuple[int, ...]  # TCP ports that its training may connect to
    disk: int | None = None  # bytes of all files together that it writes; None: no limit

    counts_growth: bool = False  # `disk` limits growth, not what was there before
    shares_folders: bool = False  # others write there, too: what it cannot have written is not counted
    # when the machine runs out of memory, the kernel ends the process with the most memory and score first
    oom_score: int = MAX_OOM_SCORE
    niceness: int = 0  # of its processes, for good; 19 yields the processor to all others
    memory_setting: str = "[resources] memory, SLIPWAY_MEMORY"  # who sets `memory`, for a person

    @property
    def for_serving(self) -> "Sandbox":
        """The same for what answers users: builds and previews are killed for memory before it."""
        return replace(self, oom_score=SERVING_OOM_SCORE)

    @property
    def lender(self) -> str:
        """The model whose stored locks its builds may use: a check resolves nothing that its model has."""
        return self.model.partition("@")[0]

    @property
    def for_uv(self) -> "Sandbox":
        """The same for uv while it runs no untrusted code: as a user of its own, where each model has one."""
        user = None if self.user is None else uids.UV_UID
        return replace(self, user=user, counts_growth=True, shares_folders=True)


def sandbox_for(settings: MlSettings, model: ModelConfig, resources: Resources) -> Sandbox:
    """Return a model's sandbox: the repository may set a lower memory limit, the operator's setting wins."""
    home, default_memory = settings.home.resolve(), settings.memory or machine_memory() * 3 // 4
    user = None
    if uids.can_switch(home):
        user = uids.uid_for(home, model.isolation or model.name)
        restrict_home(home)
    return Sandbox(
        home,
        model.isolation or model.name,
        user,
        model.resources.memory or min(resources.memory or default_memory, default_memory),
        settings.file_size,
        process_limit(),
        settings.train_ports,
        2 * settings.file_size,
    )


def restrict_home(home: Path) -> None:
    """Let others only pass through folders in SLIPWAY_HOME, and close the appliance's own to them."""
    for child in home.iterdir():
        if not child.is_symlink():
            mode = stat.S_IMODE(child.stat().st_mode)
            child.chmod(mode & (0o700 if child.name in PRIVATE_FOLDERS or not child.is_dir() else 0o711))


def process_limit() -> int:
    """Return the limit of processes and threads, from the pools of both on as many processors."""
    return 512 + 32 * (os.cpu_count() or 1)


@cache
def machine_memory() -> int:
    """Return the bytes of memory of the machine or of the container."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup", name)
        if file.exists() and (text := file.read_text().strip()).isdigit():
            found.append(int(text))
    return min(found)
