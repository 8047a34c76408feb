"""How one model's code is held: its user, its limits, what it reads, writes and connects to."""

import json
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ml.errors import Rejected, Unavailable
from ml.manifest import Resources
from ml.runner import trees, users
from ml.settings import Model, Settings

CONFINE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("confine") / "__main__.py"))
MODEL = Path(__file__).parents[1] / "model"  # runs in the model's environment
GIB = 1 << 30
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NOT_CONFINED = 126  # the exit code of `confine` where it could not do its work
OPEN_FILES = 4096
OURS = ("repositories", "logs", "postgres", "demo", "singer", "mlflow", "tracking")
OF_ONE_MODEL = ("releases", "artifacts")  # whose folders other models' users do not pass

# The system, without what it keeps to itself: /etc by name, nobody's home, no service's folder.
ETC = """
    alternatives ca-certificates ca-certificates.conf crypto-policies debian_version fonts gai.conf glvnd
    group host.conf hostname hosts ld.so.cache ld.so.conf ld.so.conf.d locale.alias localtime lsb-release
    magic mime.types nsswitch.conf OpenCL os-release passwd pki protocols resolv.conf services ssl timezone
    vulkan
"""
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/proc", "/sys"),
    *("/opt/cuda", "/opt/rocm", "/opt/nvidia", "/opt/intel", "/dev/random", "/dev/urandom"),
    *(f"/etc/{name}" for name in ETC.split()),
)
DEVICES = (
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/shm", "/dev/kfd", "/dev/dri", "/dev/nvidiactl"),  # noqa: S108
    *("/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", *(f"/dev/nvidia{number}" for number in range(16))),
)


@dataclass(frozen=True)
class Sandbox:
    """One model's, on this appliance. Sizes are in bytes; `home` is resolved."""

    home: Path
    model: str
    user: int | None  # None: the same as the service's
    memory: int
    file_size: int
    processes: int
    ports: tuple[int, ...]  # TCP ports that its training may connect to
    disk: int | None = None  # what all files together may hold that it writes; None: no matter

    counts_growth: bool = False  # `disk` is for what comes to be, not for what was there before

    @property
    def for_uv(self) -> "Sandbox":
        """The same for uv while it runs no foreign code: as a user of its own, where each model has one."""
        return replace(self, user=None if self.user is None else users.UV, counts_growth=True)


def of(settings: Settings, model: Model, asked: Resources) -> Sandbox:
    """The repository may ask for less memory than it gets; what the operator says of the model wins."""
    home, given = settings.home.resolve(), settings.memory or machine_memory() * 3 // 4
    user = None
    if users.possible(home):
        user = users.of(home, model.name)
        close_home(home)
    return Sandbox(
        home,
        model.name,
        user,
        model.resources.memory or min(asked.memory or given, given),
        settings.file_size,
        processes(),
        settings.train_ports,
        2 * settings.file_size,
    )


def close_home(home: Path) -> None:
    """What is in SLIPWAY_HOME may be passed through at most; what is the appliance's own, not even that."""
    for child in home.iterdir():
        if not child.is_symlink():
            mode = stat.S_IMODE(child.stat().st_mode)
            child.chmod(mode & (0o700 if child.name in OURS or not child.is_dir() else 0o711))


def processes() -> int:
    """And threads: what pools of both need on a machine with so many processors."""
    return 512 + 32 * (os.cpu_count() or 1)


@cache
def machine_memory() -> int:
    """Bytes that there are, for the machine or for the container."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup", name)
        if file.exists() and (text := file.read_text().strip()).isdigit():
            found.append(int(text))
    return min(found)


def prefix(
    sandbox: Sandbox,
    *,
    cwd: Path,
    reads: Sequence[Path],
    writes: Sequence[Path],
    ports: Sequence[int] | None,
    here: Sequence[int] = (),
    has_sockets: bool = False,
    umask: int = 0o077,
) -> list[str]:
    """What has to stand before a command so that it is held.

    Paths are resolved. `ports` are those of TCP that it may connect to on other machines, `here` on this one
    too; with none of them it gets no network, `ports` None leaves the network open. With `has_sockets` its
    processes may talk to each other by sockets in the folders that it writes.

    Hands the paths over to the model's user; `Unavailable` when one cannot be.
    """
    shown = [cwd, *reads, *writes, MODEL]
    covered: set[Path] = set()
    if sandbox.user is not None:
        for folder in writes:
            give(folder, sandbox.user)
        covered = {closed for path in shown if (closed := hand_over(path, sandbox)) is not None}
    terms = {
        "user": sandbox.user,
        "folder": str(cwd),
        "covered": sorted(map(str, covered)),
        "shown": list(map(str, shown)),
        "reads": [
            *SYSTEM,
            str(Path("/etc/resolv.conf").resolve()),
            *map(str, (cwd, *reads, MODEL)),
            *certificates(),
        ],
        "writes": [*DEVICES, *map(str, writes)],
        "ports": ports if ports is None else [*ports, *here],
        "here": list(here),
        "sockets": list(map(str, writes)) if has_sockets else [],
        "umask": umask,
        "memory": sandbox.memory,
        "data": sandbox.memory + GIB // 4 + (os.cpu_count() or 1) * (48 << 20),  # threads' stacks and pools
        "file_size": sandbox.file_size,
        "open_files": OPEN_FILES,
        "processes": sandbox.processes,
    }
    return [*CONFINE, json.dumps(terms)]


def certificates() -> list[str]:
    """Those that this machine's operator has its programs trust."""
    return [os.environ[name] for name in CERTIFICATES if os.environ.get(name)]


def give(folder: Path, user: int) -> None:
    """Make the model's user the owner of a folder that it may write in.

    Never of what is in it: its name could be another file's by the time that it is handed over.
    """
    if folder.stat().st_uid not in (
        user,
        os.geteuid(),
    ):  # it was another user's, in another life of this home
        trees.remove(folder)
        folder.mkdir()
    os.chown(folder, user, user)
    folder.chmod(0o700)


def check_readable(path: Path, sandbox: Sandbox) -> None:
    """Raise RuntimeError where `path` is the appliance's own or another model's."""
    if not path.is_relative_to(sandbox.home):
        return
    top, *below = path.relative_to(sandbox.home).parts or ("",)
    is_private = not top or top in OURS or not (sandbox.home / top).is_dir()
    if top == "artifacts":
        is_private = len(below) < 2 or below[0] != sandbox.model
    elif top in ("releases", "environments"):
        is_private = not below
    if not is_private and top == "releases" and below[0].isdecimal():
        owner = users.model_of(sandbox.home, (sandbox.home / top / below[0]).stat().st_gid)
        is_private = owner not in (None, sandbox.model)
    if is_private:
        raise RuntimeError(f"{path} is not for {sandbox.model} to read")


def hand_over(path: Path, sandbox: Sandbox) -> Path | None:
    """Let the model's user come to `path` and read it; gives a closed folder on the way that is not ours."""
    assert sandbox.user is not None
    check_readable(path, sandbox)
    closed = None
    for folder in reversed(path.parents):
        if not folder.is_relative_to(sandbox.home):
            if closed is None and not may(folder, sandbox.user, 0o1):
                closed = folder
        elif folder.parent.parent == sandbox.home and folder.parent.name in OF_ONE_MODEL:
            os.chown(folder, -1, sandbox.user)
            folder.chmod(0o710)
        elif not may(folder, sandbox.user, 0o1):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o001)
    if not may(path, sandbox.user, 0o4):
        if not path.is_relative_to(sandbox.home):
            raise Unavailable(
                f"{path} is closed to the user that {sandbox.model} runs as ({sandbox.user}): "
                "open it with chmod o+r"
            )
        path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o055 if path.is_dir() else 0o044))
    return closed


def may(path: Path, user: int, right: int) -> bool:
    """Whether `user` has the right (4 read, 1 pass) by the file's mode."""
    found = path.stat()
    shift = 6 if found.st_uid == user else 3 if found.st_gid == user else 0
    return bool(found.st_mode >> shift & right)


def own_again(folder: Path) -> None:
    """Make a whole tree ours that the model's user has made; from the top down, so that it cannot meddle.

    `Rejected` when it is too deep.
    """
    if os.geteuid() == 0:
        try:
            for _, folders, files, place in os.fwalk(folder):
                os.fchown(place, 0, 0)
                for name in (*folders, *files):
                    os.chown(name, 0, 0, dir_fd=place, follow_symlinks=False)
        except RecursionError as error:
            raise Rejected("what was built for it has folders within folders without end") from error


def take_back(folder: Path, names: Iterable[str]) -> None:
    """What a process has left in its output folder: plain files of these names are ours, the rest goes.

    `Rejected` when something else is in their place: a link would be followed into other folders.
    """
    os.chown(folder, os.geteuid(), os.getegid())
    folder.chmod(0o755)
    wanted = set(names)
    for path in list(folder.iterdir()):
        found = path.lstat()
        if path.name not in wanted:
            trees.remove(path) if stat.S_ISDIR(found.st_mode) else path.unlink()
        elif not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise Rejected(f"it left a link or a folder in the place of Slipway's {path.name}")
        else:
            os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
            path.chmod(0o644)
