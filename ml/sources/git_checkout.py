"""The checkout of one commit's tree, without `.git`; only this package imports GitPython."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import git

from common.errors import RejectedError, UnavailableError
from common.git_login import (
    GIT_CONFIG_VARIABLES,
    LOGIN_IN_URL,
    login_environment,
    ran_out_of_memory,
    strip_login,
)
from common.system import disk, filelock
from common.units import format_bytes
from ml.settings import ModelConfig
from ml.sources.git_export import export_model, is_exported, read_files
from ml.sources.git_server import (
    FETCH_COMMAND,
    MISSING_MESSAGES,
    NO_MEMORY,
    WHOLE_BRANCH_MESSAGES,
    run_git,
    to_unavailable_error,
)
from ml.stage_log import LogLine, discard

MOST_COMMITS = 100  # in a clone
HISTORY_DEPTH = 100  # commits behind those that were merged in one second
COMMIT_PATTERN = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def checkout_commit(
    model: ModelConfig,
    commit: str,
    *,
    clone: Path,
    into: Path,
    token: str = "",
    host: str = "github.com",
    may_appear: bool = False,
    log_line: LogLine = discard,
) -> Path:
    """Return the folder `into` with the files of `commit`; `clone` is a bare repository, reused by releases.

    Raises `UnavailableError` when the repository cannot be reached, and `RejectedError` when it has no such
    commit, or `UnavailableError` while that `may_appear`: a mirror may be behind.
    """
    if is_exported(into, model):
        log_line(f"commit {commit[:8]} is checked out already")
        return into
    if not COMMIT_PATTERN.fullmatch(commit):
        raise RejectedError(f"{commit[:100]!r} is not the id of a commit")
    try:
        with filelock.acquire(clone.with_suffix(".lock")):
            repository = open_bare_clone(clone)
            if is_missing := not has_commit(repository, commit_ref(commit)):
                repository = reset_full_clone(repository, clone)
            with repository.git.custom_environment(**login_environment(model.clone_url, token, host)):
                if is_missing:
                    fetch_commit(repository, model, commit, log_line)
                if not has_commit(repository, commit_ref(commit)):
                    raise to_missing_error(model, commit, may_appear)
            files, size = export_model(repository, commit, model, into)
    except git.GitCommandError as failure:
        if disk.is_disk_full_message(str(failure.stderr)) or disk.is_full(clone.parent):
            raise UnavailableError(
                f"commit {commit[:8]} cannot be checked out: {disk.FULL_MESSAGE}"
            ) from failure
        if ran_out_of_memory(str(failure.stderr), model.clone_url):
            raise RejectedError(
                f"commit {commit[:8]} cannot be checked out: {NO_MEMORY} for it. Make its largest files, its "
                "folders and its message smaller: large data belongs under [data] in slipway.toml"
            ) from failure
        raise
    log_line(f"commit {commit}: {files:,} file{'s' if files != 1 else ''}, {format_bytes(size)}")
    return into


def open_bare_clone(clone: Path) -> git.Repo:
    """Return our clone, created when it is missing or broken.

    We own its lock file: locks of git in it are of one that was killed.
    """
    for lock in [*clone.glob("*.lock"), *(clone / "refs").rglob("*.lock")]:
        lock.unlink(missing_ok=True)
    try:
        repository = git.Repo(clone)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        shutil.rmtree(clone, ignore_errors=True)
        repository = git.Repo.init(clone, bare=True)
    # regardless of its owner
    repository.git.update_environment(**GIT_CONFIG_VARIABLES, GIT_DIR=str(clone.absolute()))
    return repository


def reset_full_clone(repository: git.Repo, clone: Path) -> git.Repo:
    """Return our clone, emptied once it has many commits: each is a pack of its own, and none expires."""
    if len(list((clone / "refs/commits").glob("*"))) < MOST_COMMITS:
        return repository
    old = clone.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    clone.rename(old)  # at once: half of it would pass for a clone
    shutil.rmtree(old, ignore_errors=True)
    return open_bare_clone(clone)


def read_tree(model: ModelConfig, commit: str, *, clone: Path) -> tuple[str, str] | None:
    """Return git's id of a commit's tree, and the id of the model's files; None where our clone lacks it."""
    with filelock.acquire(clone.with_suffix(".lock")):
        repository = open_bare_clone(clone)
        if not has_commit(repository, commit):
            return None
        tree = str(repository.git.rev_parse("--verify", f"{commit}^{{tree}}"))
        return tree, read_files(repository, commit, model)


def commit_ref(commit: str) -> str:
    """Return the ref that is created when a commit is complete; a killed fetch leaves a part without it."""
    return f"refs/commits/{commit}"


def has_commit(repository: git.Repo, commit: str) -> bool:
    try:
        repository.git.cat_file("-e", f"{commit}^{{tree}}")
    except git.GitCommandError:
        return False
    return True


def fetch_commit(repository: git.Repo, model: ModelConfig, commit: str, log_line: LogLine) -> None:
    """Fetch the one commit; where the server does not support that, the whole branch."""
    address = LOGIN_IN_URL.sub("***@", model.clone_url)
    log_line(f"fetching commit {commit[:8]} from {address}")
    alone = f"+{commit}:{commit_ref(commit)}"
    branch = f"+refs/heads/{model.branch}:refs/heads/{model.branch}"
    plain = strip_login(model.clone_url)
    try:
        run_git(repository.git, *FETCH_COMMAND, "--depth=1", "--", plain, alone)
    except git.GitCommandError as failure:
        if lacks_room(failure, model):
            raise
        if not any(word in str(failure.stderr) for word in (*MISSING_MESSAGES, *WHOLE_BRANCH_MESSAGES)):
            raise to_unavailable_error(model, failure) from failure
        log_line(f"the server does not provide it alone: fetching the branch {model.branch}")
        try:
            run_git(repository.git, *FETCH_COMMAND, "--", plain, branch)
            if has_commit(repository, commit):
                repository.git.update_ref(commit_ref(commit), commit)
        except git.GitCommandError as failure:
            if lacks_room(failure, model):
                raise
            if not any(word in str(failure.stderr) for word in MISSING_MESSAGES):
                raise to_unavailable_error(model, failure) from failure


def lacks_room(failure: git.GitCommandError, model: ModelConfig) -> bool:
    """Return True when git lacked room on the disk or memory, and nothing else."""
    stderr = str(failure.stderr)
    return disk.is_disk_full_message(stderr) or ran_out_of_memory(stderr, model.clone_url)


def to_missing_error(model: ModelConfig, commit: str, may_appear: bool) -> RejectedError | UnavailableError:
    missing = f"commit {commit} is not in {LOGIN_IN_URL.sub('***@', model.clone_url)}"
    if may_appear:
        return UnavailableError(f"{missing} yet: is that behind GitHub?")
    return RejectedError(f"{missing}: was {model.branch} rewritten after the merge?")


def count_ancestors(
    model: ModelConfig, commits: Sequence[str], *, clone: Path, token: str = "", host: str = "github.com"
) -> dict[str, int]:
    """Return how many of the others are in the history of each, so far as the server provides it.

    Raises `UnavailableError`.
    """
    commits = [commit for commit in commits if COMMIT_PATTERN.fullmatch(commit)]
    with filelock.acquire(clone.with_suffix(".lock")):
        repository = open_bare_clone(clone)
        with repository.git.custom_environment(**login_environment(model.clone_url, token, host)):
            fetch_histories(repository, model, commits)
        found = {commit: repository.commit(commit) for commit in commits if has_commit(repository, commit)}
        return {
            commit: sum(
                repository.is_ancestor(found[other], found[commit]) for other in found if other != commit
            )
            for commit in found
        }


def fetch_histories(repository: git.Repo, model: ModelConfig, commits: Sequence[str]) -> None:
    """Fetch commits with what is behind them; those that the server lacks stay missing."""
    refs = [f"+{commit}:{commit_ref(commit)}" for commit in commits]
    try:
        plain = strip_login(model.clone_url)
        run_git(repository.git, *FETCH_COMMAND, f"--depth={HISTORY_DEPTH}", "--", plain, *refs)
    except git.GitCommandError as failure:
        if not any(word in str(failure.stderr) for word in MISSING_MESSAGES):
            raise to_unavailable_error(model, failure) from failure
