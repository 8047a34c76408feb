"""Puts an environment together from what packages were installed, taking from it only what is expected.

uv installs into a staging folder. Wheels may write anywhere in it, and code that builds a package too. What
is run or read by us later (`bin/python`, `pyvenv.cfg`) is therefore written anew, in a new folder, into which
the packages are moved. All else that lies in the staging folder is refused, by the name of its package.
"""

import csv
import os
import re
import stat
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

from ml.environments.record import Interpreter
from ml.errors import Rejected
from ml.plain_file import read_start

CONFIGURATION = "pyvenv.cfg"
MADE_BY_UV = {"bin", "lib", "lib64", CONFIGURATION, ".gitignore", ".lock", "CACHEDIR.TAG"}
DATA = {"etc", "include", "man", "share"}  # what honest packages put there: manuals, headers, icons
SHADOWING = {"env", "git", "sh", "bash", "slipway"}  # programs that a user would not expect from a package
OF_PYTHON = re.compile(r"pythonw?[\d.]*[a-z]?|(de)?activate(\..*|_this\.py)?|pydoc(\.bat)?", re.IGNORECASE)
MAX_RECORD_BYTES = 16 << 20
MAX_CONFIGURATION_BYTES = 64 << 10
FOR_OTHERS = 0o022  # rights to write of others than the owner
ADVICE = (
    "a package may bring modules, scripts of its own name, and files below share/, etc/, include/ and man/"
)


def read_configuration(staged: Path) -> bytes | None:
    """Return pyvenv.cfg as it stands, or None where it is no plain file."""
    return read_start(staged / CONFIGURATION, MAX_CONFIGURATION_BYTES)


def check_staged(staged: Path, configuration: bytes | None, interpreter: Interpreter) -> None:
    """Raise RejectedError where a package put something beside its modules that is not its business.

    `configuration` is pyvenv.cfg as uv wrote it, before anything was installed. `secure_tree` has passed.
    """
    minor = interpreter.minor
    check_folder(staged, minor)
    for package, name in installed_outside(staged, f"lib/{minor}/site-packages/"):
        if reason := misplaced(name, package, minor):
            raise refuse(package, name, reason)
    check_names(staged, MADE_BY_UV | DATA)
    check_names(staged / "lib" / minor, {"site-packages"})
    for path in sorted((staged / "lib").iterdir()):
        if is_of_python(path.name) and path.name != minor:
            raise refuse("a package", f"lib/{path.name}", "where Python's own modules are expected")
    for path in sorted((staged / "bin").iterdir()):
        if not stat.S_ISREG(path.lstat().st_mode) and not is_of_python(path.name):
            raise refuse("a package", f"bin/{path.name}", "which is no plain file")
    if configuration is None or read_configuration(staged) != configuration:
        raise refuse("a package", CONFIGURATION, "which says what Python is run")


def check_folder(staged: Path, minor: str) -> None:
    """Raise RejectedError unless the folders that packages are taken from are folders, and not links."""
    for name in ("bin", "lib", f"lib/{minor}", f"lib/{minor}/site-packages"):
        path = staged / name
        if path.is_symlink() or not path.is_dir():
            raise refuse("a package", name, "in place of the folder that is there")


def check_names(folder: Path, expected: set[str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name not in expected:
            raise refuse("a package", path.name, "beside its modules")


def misplaced(path: str, package: str, minor: str) -> str:
    """Return why `path`, relative to the environment, is not a package's to write; nothing where it is."""
    top, _, rest = path.partition("/")
    if top in DATA or (top in ("lib", "lib64") and not is_of_python(rest.partition("/")[0])):
        return ""
    if path.startswith(f"lib/{minor}/site-packages/"):
        return ""
    if top != "bin" or "/" in rest:
        return "which says what Python is run" if path == CONFIGURATION else "beside its modules"
    if is_of_python(rest) or (rest in SHADOWING and package.lower() != rest):
        return "where a program of that name is expected"
    return ""


def is_of_python(name: str) -> bool:
    """Return whether a program's or folder's name is one that belongs to Python or its environments."""
    return OF_PYTHON.fullmatch(name) is not None


def installed_outside(staged: Path, packages: str) -> Iterator[tuple[str, str]]:
    """Yield what packages list outside of the folder `packages`: the package, and the path in `staged`.

    Raises RejectedError for a list that cannot be read.
    """
    for record in sorted((staged / packages).glob("*.dist-info/RECORD")):
        package = record.parent.name.partition("-")[0]
        if record.lstat().st_size > MAX_RECORD_BYTES:
            raise refuse(package, record.name, f"a list of more than {MAX_RECORD_BYTES >> 20} MiB")
        try:
            with record.open(newline="", errors="replace") as file:
                names = [os.path.normpath(packages + row[0]) for row in csv.reader(file) if row]
        except (csv.Error, OSError) as error:
            raise refuse(package, record.name, f"a list that cannot be read ({error})") from error
        yield from ((package, name) for name in names if not name.startswith(packages))


def refuse(package: str, path: str, why: str) -> Rejected:
    return Rejected(f"{package} puts {path[:200]!r} into its environment, {why}: {ADVICE}")


def secure_tree(staged: Path) -> None:
    """Take from others the right to write; raise RejectedError where a link leads out of the environment."""
    try:
        _secure_tree(str(staged))
    except RecursionError as error:
        raise Rejected("a package has folders within folders without end") from error


def _secure_tree(root: str) -> None:
    for folder, folders, files, place in os.fwalk(root, onerror=refuse_closed):
        where = Path(folder)
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                target = os.readlink(name, dir_fd=place)
                if not (is_inside(target, where, root) or is_program_of_python(where / name, root)):
                    raise refuse("a package", os.path.relpath(where / name, root), "a link that leads out")
            elif not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
                raise refuse("a package", name, "which is neither a file nor a folder")
            elif found.st_mode & (FOR_OTHERS | stat.S_ISUID | stat.S_ISGID):
                os.chmod(name, stat.S_IMODE(found.st_mode) & 0o755, dir_fd=place)


def refuse_closed(error: OSError) -> None:
    raise refuse("a package", str(error.filename), "a folder that cannot be looked into")


def is_inside(target: str, folder: Path, root: str) -> bool:
    """Return whether a link in `folder` leads into `root`, by way of other links too.

    What goes up after it went down is refused: where that leads is for a link on the way to say.
    """
    parts = list(dropwhile("..".__eq__, Path(target).parts))
    return ".." not in parts and os.path.normpath(folder / target).startswith(root + os.sep)


def is_program_of_python(path: Path, root: str) -> bool:
    """Return whether `path` is one of the links that every environment has, and that are not kept."""
    return path.parent == Path(root, "bin") and is_of_python(path.name)


def assemble(staged: Path, new: Path, interpreter: Interpreter) -> None:
    """Make the environment in the empty folder `new`: packages from `staged`, all else as we know it.

    Both lie on one file system. `check_staged` has passed, and nothing else runs in `staged` any more.
    """
    (new / "bin").mkdir()
    for name in ("lib", *sorted(DATA)):
        if (staged / name).is_dir() and not (staged / name).is_symlink():
            (staged / name).rename(new / name)
    for path in sorted((staged / "bin").iterdir()):
        if not is_of_python(path.name):
            path.rename(new / "bin" / path.name)
    (new / "bin/python").symlink_to(interpreter.executable)
    for name in ("python3", interpreter.minor):
        (new / "bin" / name).symlink_to("python")
    (new / "lib64").symlink_to("lib")
    (new / CONFIGURATION).write_text(
        f"home = {interpreter.executable.parent}\n"
        "implementation = CPython\n"
        f"version_info = {interpreter.version}\n"
        "include-system-site-packages = false\n"
    )
