"""A new repository of a model, from the templates in `resources/new-model`."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from cli import terminal
from cli.errors import UserError
from common.git_login import GIT

TEMPLATE = Path(__file__).parents[2] / "resources/new-model"
NAMES = {"gitignore": ".gitignore"}  # of files that would have an effect in the template's folder


def create_repository(name: str) -> None:
    """Write the template into a new folder, or one with nothing but `.git`; it becomes a git repository.

    A folder within a repository becomes none of its own. Nothing is left of what could not be written whole.
    Raises `UserError`.
    """
    if not name.strip():
        raise UserError("the new folder has no name: give it one, as in slipway init my-model")
    target = Path(os.path.abspath(name))  # noqa: PTH100 (`..` ends here)
    is_new = not os.path.lexists(target)
    if not is_new and not is_empty(target):
        raise UserError(f"{name} is there already: name a new folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_new:
            target.mkdir()
        fill_folder(target, is_new=is_new)
    except OSError as error:
        raise UserError(f"{name} cannot be written: {error.strerror}") from error
    words = shlex.quote(name if not name.startswith("-") else f"./{name}")
    terminal.print_text(f"{name} is written. Next: slipway check {words}")


def is_empty(target: Path) -> bool:
    """Return whether a folder holds nothing but `.git`."""
    try:
        return not target.is_symlink() and {entry.name for entry in target.iterdir()} <= {".git"}
    except OSError:
        return False


def fill_folder(target: Path, *, is_new: bool) -> None:
    """Write the template, and begin a git repository; on failure nothing of it is left."""
    try:
        for source, path in list_files(target):
            if source.is_dir():
                shutil.copytree(source, path, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, path)
        if not any(os.path.lexists(folder / ".git") for folder in (target, *target.parents)):
            initialize_git(target)
    except BaseException:
        for path in [target] if is_new else [path for _, path in list_files(target)]:
            if path.is_file():
                path.unlink()
            else:
                shutil.rmtree(path, ignore_errors=True)
        raise


def list_files(target: Path) -> list[tuple[Path, Path]]:
    """Return the files and folders of the template, each with the path that it gets."""
    names = [path.name for path in TEMPLATE.iterdir() if not path.name.startswith((".", "__"))]
    return [(TEMPLATE / name, target / NAMES.get(name, name)) for name in names]


def initialize_git(target: Path) -> None:
    """Make the folder a git repository with the branch that an appliance follows; raises `UserError`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = [GIT, "init", "--quiet", "--initial-branch=main", str(target)]
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git cannot begin a repository: {done.stderr.strip() or 'it gave no reason'}")
