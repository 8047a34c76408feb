"""Calls of git that contact a server, with a limit on their time, and how they fail."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

import git

from common.errors import LoginRefusedError, UnavailableError
from common.git_login import (
    GIT,
    LOGIN_IN_URL,
    MEMORY_BYTES,
    login_environment,
    ran_out_of_memory,
    strip_login,
)
from common.system.bounded_output import OutputTooLongError, read_output
from common.units import format_bytes
from db import newest
from ml.settings import ModelConfig

# into one pack, synced to the disk, and complete
FETCH_COMMAND = ("-c", "fetch.unpackLimit=1", "fetch", "--no-tags")
FETCH_SECONDS = 600.0  # seconds for one fetch
TAGS_SECONDS = 60.0
MAX_OUTPUT_BYTES = 8 << 20  # 100,000 references, or names of files in conflict
MAX_REFERENCES = 50_000
TOO_LONG = f"fatal: the answer is longer than {format_bytes(MAX_OUTPUT_BYTES)}"
TAGS_PREFIX = "refs/tags/"
TAGS = f"{TAGS_PREFIX}v*"
KINDS = {"--tags": TAGS_PREFIX, "--heads": "refs/heads/"}
MISSING_MESSAGES = (
    "not our ref",
    "couldn't find remote ref",
    "no such remote ref",
    "did not send all necessary objects",
)
WHOLE_BRANCH_MESSAGES = ("unadvertised object", "shallow")  # the server only provides whole branches
LOGIN_REFUSED = "Authentication failed"  # git's words for a 401 in spite of a login
NO_MEMORY = f"git would use more than {format_bytes(MEMORY_BYTES)} of memory"

git.Git.GIT_PYTHON_GIT_EXECUTABLE = GIT


def list_tags(model: ModelConfig, *, token: str = "", host: str = "github.com") -> list[tuple[str, str]]:
    """Return the `v*` tags of a repository and their commits; see `sort_tags`. Raises `UnavailableError`."""
    return sort_tags(list_refs(model, TAGS, token=token, host=host))


def list_refs(model: ModelConfig, *patterns: str, token: str = "", host: str = "github.com") -> str:
    """Return what `git ls-remote` lists of these patterns, of tags and branches.

    The server is asked for no other kind: GitHub has refs of each pull request. Raises `UnavailableError`.
    """
    git_client = git.Git()
    kinds = [kind for kind, prefix in KINDS.items() if any(one.startswith(prefix) for one in patterns)]
    listed = ("ls-remote", *kinds, "--sort=-version:refname", "--", strip_login(model.clone_url), *patterns)
    try:
        with git_client.custom_environment(**login_environment(model.clone_url, token, host)):
            answer = run_git(git_client, *listed, timeout=TAGS_SECONDS)
    except git.GitCommandError as failure:
        if failure.stderr and TOO_LONG in str(failure.stderr):
            raise too_many_references_error(model, patterns) from failure
        raise to_unavailable_error(model, failure) from failure
    if answer.count("\n") > MAX_REFERENCES:
        raise too_many_references_error(model, patterns)
    return answer


def sort_tags(answer: str) -> list[tuple[str, str]]:
    """Return the tags that `git ls-remote` lists, newest version first.

    Versions are those of PEP 440; other names are older than any, in git's own order.
    """
    return sorted(parse_tags(answer).items(), key=lambda tag: newest.parse_version(tag[0]), reverse=True)


def parse_tags(answer: str) -> dict[str, str]:
    """Return the commit of each tag that `git ls-remote` lists."""
    commits: dict[str, str] = {}
    for line in answer.splitlines():
        commit, _, ref = line.partition("\t")
        if not ref.startswith(TAGS_PREFIX):
            continue
        name = ref.removeprefix(TAGS_PREFIX).removesuffix("^{}")
        if name not in commits or ref.endswith("^{}"):  # of an annotated tag: the commit that it points at
            commits[name] = commit
    return commits


def run_git(git_client: git.Git, *arguments: str, timeout: float | None = None) -> str:
    """Run a git that contacts a server, and return its output; raise `git.GitCommandError` when it fails.

    It also fails when it prints more than `MAX_OUTPUT_BYTES`.

    After `timeout` seconds git is killed with its child processes. These are its session: GitPython finds
    children by `ps`, which not every machine has, and waits for those that it does not find.
    """
    timeout = FETCH_SECONDS if timeout is None else timeout
    command = [str(git_client.GIT_PYTHON_GIT_EXECUTABLE), *arguments]
    # killed when it is garbage collected
    running = git_client.execute(command, as_process=True, start_new_session=True)
    process = running.proc
    assert process is not None
    try:
        stdout, stderr = read_output(process, MAX_OUTPUT_BYTES, timeout)
    except OutputTooLongError as error:
        raise git.GitCommandError(command, None, TOO_LONG) from error
    except subprocess.TimeoutExpired as error:
        raise git.GitCommandError(command, None, f"fatal: no end within {timeout:g} s") from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise git.GitCommandError(command, process.returncode, stderr, stdout)
    return stdout.decode(errors="replace")


def too_many_references_error(model: ModelConfig, patterns: Sequence[str]) -> UnavailableError:
    return UnavailableError(
        LOGIN_IN_URL.sub("***@", f"{model.clone_url} lists more than {MAX_REFERENCES:,} references ")
        + f"{' and '.join(patterns)}, which Slipway does not read: delete old ones there"
    )


def to_unavailable_error(model: ModelConfig, error: git.GitCommandError) -> UnavailableError:
    if ran_out_of_memory(str(error.stderr), model.clone_url):
        return UnavailableError(
            LOGIN_IN_URL.sub("***@", f"{model.clone_url} cannot be fetched: {NO_MEMORY} for it")
        )
    stderr_lines = [line.strip().removeprefix("stderr: ") for line in str(error.stderr).splitlines()]
    lines = [line for line in stderr_lines if "fatal:" in line or "ERROR" in line]
    message = (lines or [str(error.stderr).strip() or f"git ended with {error.status}"])[-1].strip("' \n")
    kind = LoginRefusedError if LOGIN_REFUSED in message else UnavailableError
    return kind(
        LOGIN_IN_URL.sub("***@", f"{model.clone_url} cannot be fetched: {message}. ")
        + "Check SLIPWAY_REPOSITORY, SLIPWAY_CLONE_URL, GITHUB_TOKEN or the GitHub App, and the network"
    )
