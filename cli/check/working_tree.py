"""The working tree of a model's repository, committed as it is into a repository of our own."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from common.errors import RejectedError
from common.git_login import GIT, GIT_CONFIG_VARIABLES
from common.system.bounded_output import OutputTooLongError, read_output
from common.system.plain_file import read_start
from ml.sources.git_checkout import commit_ref, open_bare_clone
from ml.sources.git_tree import LITERAL_PATHS, MAX_FILES, MAX_FOLDER_DEPTH, MAX_TREE_BYTES

MAX_INDEX_BYTES = 256 << 20  # bytes of the repository's index, which lists the tracked files
MAX_EXCLUDE_BYTES = 1 << 20
MAX_LISTING_BYTES = 64 << 20  # of git's list of files
TOO_LONG_NAMES = (
    f"the names of its files take more than {MAX_LISTING_BYTES >> 20} MiB: add what is not code to .gitignore"
)
GIT_SECONDS = 600.0
# folders that programs make, and that nobody commits
EXCLUDED_FOLDERS = (".venv", "venv", "__pycache__", ".slipway")
UNTRACKED = ("ls-files", "-z", "--others", "--exclude-standard")
TRACKED_AND_IGNORED = ("ls-files", "-z", "--cached", "--ignored", "--exclude-standard")
IDENTITY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "slipway check"), ("EMAIL", "check@localhost"), ("DATE", "@0 +0000"))
}


def find_repository(folder: Path) -> Path:
    """Return the working tree that a folder lies in. Raises `RejectedError` where it is in none."""
    found = next((each for each in (folder, *folder.parents) if os.path.lexists(each / ".git")), None)
    if found is None:
        raise RejectedError(f"{folder} lies in no git repository, of which --paths could name other parts")
    return found


def commit_working_tree(tree: Path, clone: Path, paths: Sequence[str] = (".",)) -> str:
    """Commit the files of `tree`, or those at `paths` in it, into the new bare repository `clone`.

    Return the commit.

    These are the files that `git add --all` would commit: with uncommitted changes, without ignored ones. No
    configuration and no hook of the repository applies, and nothing is written below `tree`. Raises
    `RejectedError` for files that no commit can hold, or too many of them.
    """
    for path in paths:
        check_kinds(tree / path)
    open_bare_clone(clone)
    write_excludes(tree, clone)
    check_size(tree, split_names(run_git(tree, clone, *UNTRACKED, "--", *paths)))
    run_git(tree, clone, "add", "--all", "--", *paths)
    if forced := list_tracked_and_ignored(tree, clone, paths):
        check_size(tree, iter(forced))
        names = "\0".join(forced)
        add = ("add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul")
        run_git(tree, clone, *add, text=names)
    written = run_git(tree, clone, "write-tree").strip()
    commit = run_git(tree, clone, "commit-tree", "-m", "The working tree", written).strip()
    run_git(tree, clone, "update-ref", commit_ref(commit), commit)
    return commit


def check_kinds(tree: Path) -> None:
    """Raise `RejectedError` for files of git that are none, and for folders that nest too deep.

    Git waits for a pipe in place of `.gitignore`. It passes over any other pipe, socket or device.
    """
    folders = [(tree, 0)]
    while folders:
        folder, depth = folders.pop()
        for entry, mode in list_folder(folder):
            name = os.path.relpath(entry.path, tree)
            if stat.S_ISDIR(mode):
                if depth >= MAX_FOLDER_DEPTH:
                    raise RejectedError(
                        f"{name[:60]}… lies more than {MAX_FOLDER_DEPTH} folders deep: move it up"
                    )
                folders.append((Path(entry.path), depth + 1))
            elif entry.name.startswith(".git") and not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                raise RejectedError(f"{name} is a pipe, a socket or a device: remove it")


def list_folder(folder: Path) -> list[tuple[os.DirEntry[str], int]]:
    """Return the entries of a folder with their modes, but for those that are never committed.

    There are none where it is closed or gone: git passes over it as well.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        return [
            (entry, entry.stat(follow_symlinks=False).st_mode)
            for entry in entries
            if entry.name not in (*EXCLUDED_FOLDERS, ".git")
        ]
    return []


def check_size(tree: Path, names: Iterator[str]) -> None:
    """Raise `RejectedError` for more files or bytes than a build takes, before any of them is read."""
    size = 0
    for number, name in enumerate(names, 1):
        try:
            size += (tree / name).lstat().st_size
        except FileNotFoundError:  # removed meanwhile
            continue
        if size > MAX_TREE_BYTES:
            raise RejectedError(
                f"with {name} the files are larger than {MAX_TREE_BYTES >> 30} GiB together: keep large data "
                "elsewhere and name it under [data] in slipway.toml, or add it to .gitignore"
            )
        if number > MAX_FILES:
            raise RejectedError(f"it has more than {MAX_FILES:,} files: add what is not code to .gitignore")


def write_excludes(tree: Path, clone: Path) -> None:
    """Exclude what the repository excludes on this machine alone, and what programs leave behind."""
    own = read_start(find_git_folder(tree) / "info/exclude", MAX_EXCLUDE_BYTES) or b""
    lines = [*map(str.encode, EXCLUDED_FOLDERS), own]
    (clone / "info").mkdir(exist_ok=True)
    (clone / "info/exclude").write_bytes(b"\n".join(lines))


def list_tracked_and_ignored(tree: Path, clone: Path, paths: Sequence[str]) -> list[str]:
    """Return the files that the repository tracks although it ignores them."""
    index = read_start(find_git_folder(tree) / "index", MAX_INDEX_BYTES)
    if index is None:
        return []
    copy = clone / "index-of-tree"
    copy.write_bytes(index)
    listed = run_git(tree, clone, *TRACKED_AND_IGNORED, "--", *paths, index=copy)
    return [name for name in split_names(listed) if os.path.lexists(tree / name)]


def find_git_folder(tree: Path) -> Path:
    """Return the folder that git keeps for `tree`: `.git`, or what the file `.git` names."""
    text = (read_start(tree / ".git", 4096) or b"").decode(errors="replace")
    _, found, path = text.partition("gitdir: ")
    return tree / path.strip() if found else tree / ".git"


def split_names(listing: str) -> Iterator[str]:
    return (name for name in listing.split("\0") if name)


def run_git(tree: Path, clone: Path, *arguments: str, index: Path | None = None, text: str = "") -> str:
    """Return what git prints; raises `RejectedError` with its error."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_DIR": str(clone),
        "GIT_WORK_TREE": str(tree),
        "GIT_INDEX_FILE": str(index or clone / "index"),
        **LITERAL_PATHS,
        **GIT_CONFIG_VARIABLES,
        **IDENTITY,
    }
    command = [GIT, "-c", "core.compression=0", "-c", "core.safecrlf=false", *arguments]
    with tempfile.TemporaryFile() as names:
        names.write(os.fsencode(text))
        names.seek(0)
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdin=names, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            stdout, stderr = read_output(process, MAX_LISTING_BYTES, GIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise RejectedError(
                f"git needs more than {GIT_SECONDS:g} s for the files: remove some"
            ) from error
        except OutputTooLongError as error:
            raise RejectedError(TOO_LONG_NAMES) from error
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        lines = stderr.decode(errors="replace").strip().splitlines() or ["it gave no reason"]
        raise RejectedError(f"git cannot read the files: {lines[0].removeprefix('error: ')}")
    return os.fsdecode(stdout)
