"""The merge of a pull request's head onto its branch's tip, made here: GitHub's own may be out of date."""

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import git

from common.errors import RejectedError, UnavailableError
from common.git_login import login_environment, strip_login
from common.system import disk, filelock
from common.units import format_bytes
from common.words import format_count
from ml import manifest
from ml.settings import ModelConfig
from ml.sources.git_checkout import COMMIT_PATTERN, has_commit, lacks_room, open_bare_clone
from ml.sources.git_export import export_model, read_files, remove_export
from ml.sources.git_server import (
    FETCH_COMMAND,
    MISSING_MESSAGES,
    TOO_LONG,
    WHOLE_BRANCH_MESSAGES,
    run_git,
    to_unavailable_error,
)
from ml.sources.git_tree import show_path
from ml.stage_log import LogLine

BASE_FOLDER, MANIFEST_NAME = "base", "slipway.toml"
BASE_REF, HEAD_REF = "refs/slipway/base", "refs/slipway/head"
MERGE_SECONDS = 120.0
CRASHES = (-signal.SIGABRT, -signal.SIGSEGV)  # git's exit codes at files that no git would have written
MAX_RENAMES = 1000  # files whose renames are looked for: the search takes the square of that
MAX_PACK_BYTES = 8 << 30  # of one fetch
BLOCK_BYTES = 512  # the unit of `ulimit -f`
MAX_PACKS = 50  # in the clone, which is made from scratch beyond that
MAX_LISTED = 10  # conflicting files in a message
# names come last: GitHub shows 140 characters
CONFLICT = "it conflicts with {}: merge the branch into the pull request, and push that"
MERGE_COMMAND = (
    *("-c", f"merge.renameLimit={MAX_RENAMES}", "-c", "merge.directoryRenames=false"),
    *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"),
)


@dataclass(frozen=True)
class MergedTree:
    """A merge: git's id of its tree, and the branch's tip that the head was merged onto.

    `files` and `base_files` are ids of the files in both that the model is made of.
    """

    tree: str
    base: str
    files: str
    base_files: str


class MergeConflictError(RejectedError):
    """A merge that a person has to make."""


def checkout_merge(
    model: ModelConfig,
    head: str,
    number: int,
    *,
    base: str | None,
    clone: Path,
    into: Path,
    token: str = "",
    host: str = "github.com",
    log_line: LogLine,
) -> MergedTree:
    """Merge `head` of pull request `number` onto `base`, by default the branch's tip, and export the files.

    Both are fetched with all of their history, which the merge needs. The same two commits give the same
    files. Raises `MergeConflictError`, `RejectedError` for a head that is gone or too large, and
    `UnavailableError` while the repository cannot be reached.
    """
    if not COMMIT_PATTERN.fullmatch(head):
        raise RejectedError(f"{head[:100]!r} is not the id of a commit")
    try:
        with filelock.acquire(clone.with_suffix(".lock")):
            repository = open_small_clone(clone)
            login = login_environment(model.clone_url, token, host)
            with repository.git.custom_environment(**login, **limit_fetch()):
                log_line(f"fetching {head[:8]} of #{number}, and {model.branch}")
                fetch_ends(repository, model, head, number)
            found = base or str(repository.git.rev_parse("--verify", f"{BASE_REF}^{{commit}}"))
            if not has_commit(repository, found):
                raise RejectedError(f"commit {found[:8]} is no longer in {model.branch}: was that rewritten?")
            if base is None:  # files that are there may be of another tip
                remove_export(into)
            merged = describe_merge(repository, model, merge_trees(repository, found, head), found)
            files, size = export_model(repository, merged.tree, model, into)
            export_manifest(repository, found, model, into.with_name(BASE_FOLDER))
    except git.GitCommandError as failure:
        raise explain_failure(model, failure, clone, head) from failure
    log_merged(log_line, head, merged.base, files, size)
    return merged


def describe_merge(repository: git.Repo, model: ModelConfig, tree: str, base: str) -> MergedTree:
    files, base_files = (read_files(repository, commit, model) for commit in (tree, base))
    return MergedTree(tree, base, files, base_files)


def limit_fetch() -> dict[str, str]:
    """Return the variables that bound the size of one fetch."""
    return {"SLIPWAY_GIT_FILE_BLOCKS": str(MAX_PACK_BYTES // BLOCK_BYTES)}


def log_merged(log_line: LogLine, head: str, base: str, files: int, size: int) -> None:
    log_line(f"{head[:8]} merged onto {base[:8]}: {format_count(files, 'file')}, {format_bytes(size)}")


def open_small_clone(clone: Path) -> git.Repo:
    """Return our clone for merges, made from scratch once it has many packs: no object in it expires."""
    if len(list((clone / "objects/pack").glob("*.pack"))) > MAX_PACKS:
        shutil.rmtree(clone, ignore_errors=True)
    return open_bare_clone(clone)


def fetch_ends(repository: git.Repo, model: ModelConfig, head: str, number: int) -> None:
    """Fetch the branch's tip and the head, or GitHub's ref of the head where no single commit is served."""
    plain = strip_login(model.clone_url)
    branch = f"+refs/heads/{model.branch}:{BASE_REF}"
    heads = (f"+{head}:{HEAD_REF}", f"+refs/pull/{number}/head:{HEAD_REF}")
    for wanted in heads:
        try:
            run_git(repository.git, *FETCH_COMMAND, "--", plain, branch, wanted)
        except git.GitCommandError as failure:
            stderr = str(failure.stderr)
            if lacks_room(failure, model) or not any(
                word in stderr for word in (*MISSING_MESSAGES, *WHOLE_BRANCH_MESSAGES)
            ):
                raise
        else:
            if has_commit(repository, head):
                return
    raise RejectedError(
        f"commit {head} of #{number} is not in the repository any more: was a newer one pushed?"
    )


def merge_trees(repository: git.Repo, base: str, head: str) -> str:
    """Return git's id of the merged files; raises `MergeConflictError` with the names in conflict."""
    try:
        return run_git(repository.git, *MERGE_COMMAND, base, head, timeout=MERGE_SECONDS).strip("\0\n")
    except git.GitCommandError as failure:
        if failure.status != 1:
            if "unrelated histories" in str(failure.stderr):
                raise MergeConflictError(f"{head[:8]} has no history in common with {base[:8]}") from failure
            raise
        _, *names = str(failure.stdout).strip("' \n").removeprefix("stdout: ").split("\0")
        shown = list(dict.fromkeys(name for name in names if name))
        more = f" and {len(shown) - MAX_LISTED} more" if len(shown) > MAX_LISTED else ""
        names_shown = ", ".join(map(show_path, shown[:MAX_LISTED]))
        raise MergeConflictError(
            f"{CONFLICT.format(base[:8])}. It conflicts in {names_shown}{more}"
        ) from failure


def export_manifest(repository: git.Repo, base: str, model: ModelConfig, folder: Path) -> None:
    """Write the manifest of the branch's tip into `folder`: a pull request may change its rules."""
    name = f"{base}:{PurePosixPath(model.path, MANIFEST_NAME)}"
    try:
        is_small = int(repository.git.cat_file("-s", name)) <= manifest.MAX_BYTES
        text = repository.git.cat_file("blob", name, stdout_as_string=False) if is_small else b""
    except git.GitCommandError:  # it has none
        text = b""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST_NAME).write_bytes(text)


def explain_failure(
    model: ModelConfig, failure: git.GitCommandError, clone: Path, head: str
) -> RejectedError | UnavailableError:
    """Return whose fault a failure of git was: the commit's, the disk's or the server's."""
    stderr = str(failure.stderr)
    if disk.is_disk_full_message(stderr) or disk.is_full(clone.parent):
        return UnavailableError(f"commit {head[:8]} cannot be merged: {disk.FULL_MESSAGE}")
    if lacks_room(failure, model):
        return RejectedError(f"commit {head[:8]} cannot be merged: git would hold too much memory for it")
    if "file too large" in stderr.lower():
        return RejectedError(
            f"commit {head[:8]} cannot be merged: the repository's history is larger than "
            f"{format_bytes(MAX_PACK_BYTES)}"
        )
    if "no end within" in stderr or TOO_LONG in stderr:
        return RejectedError(f"commit {head[:8]} cannot be merged: {stderr.strip().removeprefix('fatal: ')}")
    if failure.status in CRASHES:
        return RejectedError(
            f"commit {head[:8]} cannot be merged: git itself breaks off at its files. "
            "Make them again: git fsck names what is wrong"
        )
    return to_unavailable_error(model, failure)
