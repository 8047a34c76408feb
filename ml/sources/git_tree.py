"""The tree of a commit: checked, and exported to a folder without `.git`, whole or in parts."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import git

from common.errors import RejectedError
from common.system.durable import move_into_place
from common.text import first_line, make_storable

MAX_FILES, MAX_TREE_BYTES = 100_000, 8 << 30  # at most, in one commit
MAX_FOLDER_DEPTH = 100  # nested folders, at most: much code that walks through folders fails at a thousand
MAX_SHOWN_CHARS = 200  # of a path in a message
SUBMODULE_MODE, LINK_MODE, FOLDER_MODE = "160000", "120000", "040000"  # modes in a tree


LITERAL_PATHS = {"GIT_LITERAL_PATHSPECS": "1"}  # for git, that no path is a pattern


@dataclass(frozen=True)
class TreePart:
    """A folder or a file in the tree of a commit, with git's id of it."""

    path: str
    mode: str
    id: str

    @property
    def is_folder(self) -> bool:
        return self.mode == FOLDER_MODE


def find_parts(repository: git.Repo, commit: str, paths: Sequence[str]) -> list[TreePart]:
    """Return those of these paths that are in the commit's tree; none of them lies in another."""
    with repository.git.custom_environment(**LITERAL_PATHS):
        listing = repository.git.ls_tree("-z", "--full-tree", commit, "--", *paths)
    entries = (entry.partition("\t") for entry in listing.split("\0") if entry)
    return [TreePart(path, *facts.split()[::2]) for facts, _, path in entries]


def check_tree(repository: git.Repo, commit: str, paths: Sequence[str] = ()) -> tuple[int, int]:
    """Return the number of files in the commit's tree, or in its parts at `paths`, and their bytes.

    Raises `RejectedError` when these are too large to be exported, or have parts that would be missing.

    It is parsed as a stream, folders too: a tree of a few objects can name more of both than any disk holds.
    """
    options = ("-r", "-t", "-z", "--long", "--full-tree")
    with repository.git.custom_environment(**LITERAL_PATHS):
        listing = repository.git.ls_tree(*options, commit, "--", *paths, as_process=True)
    files, folders, size = 0, 0, 0
    try:
        for entry in split_entries(listing.stdout):
            facts, _, name = entry.partition("\t")
            mode, _, _, length = facts.split()
            if mode == SUBMODULE_MODE:
                raise RejectedError(
                    f"{show_path(name)} is a git submodule, which Slipway does not fetch: "
                    "commit its files, or name it in the requirements"
                )
            if name.count("/") > MAX_FOLDER_DEPTH:
                raise RejectedError(
                    f"{show_path(name)} lies more than {MAX_FOLDER_DEPTH} folders deep: move it up"
                )
            if mode == FOLDER_MODE:
                folders += 1
            else:
                files, size = files + 1, size + int(length)
            if files > MAX_FILES or folders > MAX_FILES or size > MAX_TREE_BYTES:
                raise RejectedError(
                    f"the repository is too large: more than {MAX_FILES:,} files, as many folders, or "
                    f"{MAX_TREE_BYTES >> 30} GiB. "
                    "Name large data under [data] in slipway.toml"
                )
    finally:
        listing.proc.kill()
        listing.proc.wait()
    return files, size


def split_entries(stream: IO[bytes]) -> Iterator[str]:
    """Yield the entries that git separates by NUL."""
    rest = b""
    while chunk := stream.read(1 << 16):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from (entry.decode(errors="replace") for entry in whole)


def check_links(tree: Path) -> None:
    """Raise `RejectedError` when a symbolic link leads out of the tree: it would be read with our rights."""
    tree = tree.resolve()
    for folder, folders, files in os.walk(tree):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if not path.is_symlink():
                continue
            target = path.readlink()
            try:
                inside = not target.is_absolute() and path.resolve().is_relative_to(tree)
            except RuntimeError:  # it leads to itself
                inside = False
            if not inside:
                link = f"{show_path(path.relative_to(tree))} is a symbolic link to {show_path(target)}"
                raise RejectedError(f"{link}, which is not in the repository: commit the file itself")


def export_tree(
    repository: git.Repo, commit: str, folder: Path, parts: Sequence[TreePart] | None = None
) -> None:
    """Export the commit's files, or these parts of it, to a new folder, renamed into place when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    index = folder.with_name("index")
    index.with_name("index.lock").unlink(missing_ok=True)
    with repository.git.custom_environment(GIT_INDEX_FILE=str(index), GIT_WORK_TREE=str(new)):
        if parts is None:
            read_into_index(repository, commit)
        for part in parts or ():
            add_to_index(repository, part)
        repository.git.checkout_index("--all", "--force")  # unlike `checkout`, it runs no hook
    index.unlink(missing_ok=True)
    check_links(new)
    move_into_place(new, folder)


def add_to_index(repository: git.Repo, part: TreePart) -> None:
    """Add a part of a tree to git's index, at its own path."""
    if part.is_folder:
        read_into_index(repository, f"--prefix={part.path}/", part.id)
    else:
        repository.git.update_index("--add", "--cacheinfo", f"{part.mode},{part.id},{part.path}")


def read_into_index(repository: git.Repo, *tree: str) -> None:
    """Read a tree into git's index; raises `RejectedError` for a path that git would not write, as `.git`."""
    try:
        repository.git.read_tree(*tree)
    except git.GitCommandError as failure:
        _, is_refused, path = str(failure.stderr).partition("invalid path ")
        if not is_refused:
            raise
        shown = show_path(first_line(path).strip(" '"))
        raise RejectedError(f"{shown} is a path that git does not check out: rename it") from failure


def show_path(path: str | Path) -> str:
    """Return a path of a repository as a message may have it: printable, and not too long."""
    return make_storable(str(path), MAX_SHOWN_CHARS)
