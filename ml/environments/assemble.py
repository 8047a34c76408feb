"""The assembly of an environment from installed packages, of which only expected files are taken.

uv installs into a staging folder. Wheels may write anywhere in it, and code that builds a package too. Files
that we run or read later (`bin/python`, `pyvenv.cfg`) are therefore written from scratch, in a new folder,
into which the packages are moved. All else that lies in the staging folder is refused, by the name of its
package.
"""

import csv
import os
import re
import stat
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

from common.errors import RejectedError
from common.system.plain_file import read_start
from ml.sandbox.interpreter_record import Interpreter

CONFIGURATION_NAME = "pyvenv.cfg"
UV_NAMES = {"bin", "lib", "lib64", CONFIGURATION_NAME, ".gitignore", ".lock", "CACHEDIR.TAG"}
DATA_FOLDERS = {"etc", "include", "man", "share"}  # folders that honest packages use: manuals, headers, icons
# programs that a user would not expect from a package
SHADOWING_PROGRAMS = {"env", "git", "sh", "bash", "slipway"}
PYTHON_PATTERN = re.compile(
    r"pythonw?[\d.]*[a-z]?|(de)?activate(\..*|_this\.py)?|pydoc(\.bat)?", re.IGNORECASE
)
MAX_RECORD_BYTES = 16 << 20
MAX_CONFIGURATION_BYTES = 64 << 10
OTHERS_WRITE_MODE = 0o022  # write permissions of users other than the owner
ADVICE = (
    "a package may bring modules, scripts of its own name, and files below share/, etc/, include/ and man/"
)


def read_configuration(staged: Path) -> bytes | None:
    """Return the text of pyvenv.cfg, or None where it is no plain file."""
    return read_start(staged / CONFIGURATION_NAME, MAX_CONFIGURATION_BYTES)


def check_staged(staged: Path, configuration: bytes | None, interpreter: Interpreter) -> None:
    """Raise RejectedError where a package put something next to its modules that it may not write.

    `configuration` is pyvenv.cfg as uv wrote it, before anything was installed. `secure_tree` has passed.
    """
    minor = interpreter.minor
    check_folder(staged, minor)
    for package, name in list_installed_outside(staged, f"lib/{minor}/site-packages/"):
        if reason := explain_misplaced(name, package, minor):
            raise to_refused_error(package, name, reason)
    check_names(staged, UV_NAMES | DATA_FOLDERS)
    check_names(staged / "lib" / minor, {"site-packages"})
    for path in sorted((staged / "lib").iterdir()):
        if is_python_name(path.name) and path.name != minor:
            raise to_refused_error("a package", f"lib/{path.name}", "where Python's own modules are expected")
    for path in sorted((staged / "bin").iterdir()):
        if not stat.S_ISREG(path.lstat().st_mode) and not is_python_name(path.name):
            raise to_refused_error("a package", f"bin/{path.name}", "which is no plain file")
    if configuration is None or read_configuration(staged) != configuration:
        raise to_refused_error("a package", CONFIGURATION_NAME, "which chooses the Python that runs")


def check_folder(staged: Path, minor: str) -> None:
    """Raise RejectedError unless the folders that packages are taken from are folders, and not links."""
    for name in ("bin", "lib", f"lib/{minor}", f"lib/{minor}/site-packages"):
        path = staged / name
        if path.is_symlink() or not path.is_dir():
            raise to_refused_error("a package", name, "in place of the folder that is there")


def check_names(folder: Path, expected: set[str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name not in expected:
            raise to_refused_error("a package", path.name, "next to its modules")


def explain_misplaced(path: str, package: str, minor: str) -> str:
    """Return why a package may not write `path`, relative to the environment; an empty text where it may."""
    top, _, rest = path.partition("/")
    if top in DATA_FOLDERS or (top in ("lib", "lib64") and not is_python_name(rest.partition("/")[0])):
        return ""
    if path.startswith(f"lib/{minor}/site-packages/"):
        return ""
    if top != "bin" or "/" in rest:
        return "which chooses the Python that runs" if path == CONFIGURATION_NAME else "next to its modules"
    if is_python_name(rest) or (rest in SHADOWING_PROGRAMS and package.lower() != rest):
        return "where a program of that name is expected"
    return ""


def is_python_name(name: str) -> bool:
    """Return True when a program's or folder's name belongs to Python or its environments."""
    return PYTHON_PATTERN.fullmatch(name) is not None


def list_installed_outside(staged: Path, packages: str) -> Iterator[tuple[str, str]]:
    """Yield what packages list outside of the folder `packages`: the package, and the path in `staged`.

    Raises RejectedError for a list that cannot be read.
    """
    for record in sorted((staged / packages).glob("*.dist-info/RECORD")):
        package = record.parent.name.partition("-")[0]
        if record.lstat().st_size > MAX_RECORD_BYTES:
            raise to_refused_error(package, record.name, f"a list of more than {MAX_RECORD_BYTES >> 20} MiB")
        try:
            with record.open(newline="", errors="replace") as file:
                names = [os.path.normpath(packages + row[0]) for row in csv.reader(file) if row]
        except (csv.Error, OSError) as error:
            raise to_refused_error(package, record.name, f"a list that cannot be read ({error})") from error
        yield from ((package, name) for name in names if not name.startswith(packages))


def to_refused_error(package: str, path: str, reason: str) -> RejectedError:
    return RejectedError(f"{package} puts {path[:200]!r} into its environment, {reason}: {ADVICE}")


def secure_tree(staged: Path) -> None:
    """Remove write permission of others; raise RejectedError where a link leads out of the environment."""
    try:
        _secure_tree(str(staged))
    except RecursionError as error:
        raise RejectedError("a package has folders within folders without end") from error


def _secure_tree(root: str) -> None:
    for folder, folders, files, folder_fd in os.fwalk(root, onerror=raise_unreadable):
        parent = Path(folder)
        for name in (*folders, *files):
            status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(name, dir_fd=folder_fd)
                if not (is_inside(target, parent, root) or is_python_program(parent / name, root)):
                    raise to_refused_error(
                        "a package", os.path.relpath(parent / name, root), "a link that leads out"
                    )
            elif not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
                raise to_refused_error("a package", name, "which is neither a file nor a folder")
            elif status.st_mode & (OTHERS_WRITE_MODE | stat.S_ISUID | stat.S_ISGID):
                os.chmod(name, stat.S_IMODE(status.st_mode) & 0o755, dir_fd=folder_fd)


def raise_unreadable(error: OSError) -> None:
    raise to_refused_error("a package", str(error.filename), "a folder that cannot be read")


def is_inside(target: str, folder: Path, root: str) -> bool:
    """Return True when a link in `folder` leads into `root`, also when it passes other links.

    A path that goes up after it went down is refused: a link on the way decides where that leads.
    """
    parts = list(dropwhile("..".__eq__, Path(target).parts))
    return ".." not in parts and os.path.normpath(folder / target).startswith(root + os.sep)


def is_python_program(path: Path, root: str) -> bool:
    """Return True when `path` is one of the links that every environment has, and that are not retained."""
    return path.parent == Path(root, "bin") and is_python_name(path.name)


def assemble_environment(staged: Path, new: Path, interpreter: Interpreter) -> None:
    """Create the environment in the empty folder `new`: packages from `staged`, all else from scratch.

    Both lie on one file system. `check_staged` has passed, and nothing else runs in `staged` any more.
    """
    (new / "bin").mkdir()
    for name in ("lib", *sorted(DATA_FOLDERS)):
        if (staged / name).is_dir() and not (staged / name).is_symlink():
            (staged / name).rename(new / name)
    for path in sorted((staged / "bin").iterdir()):
        if not is_python_name(path.name):
            path.rename(new / "bin" / path.name)
    (new / "bin/python").symlink_to(interpreter.executable)
    for name in ("python3", interpreter.minor):
        (new / "bin" / name).symlink_to("python")
    (new / "lib64").symlink_to("lib")
    (new / CONFIGURATION_NAME).write_text(
        f"home = {interpreter.executable.parent}\n"
        "implementation = CPython\n"
        f"version_info = {interpreter.version}\n"
        "include-system-site-packages = false\n"
    )
