"""The branch tips of a git repository that is not on GitHub, from `git ls-remote`."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from common.git_login import GIT, find_error_line, login_environment, ran_out_of_memory, strip_login
from common.system.bounded_output import OutputTooLongError, read_output
from common.units import format_bytes
from vcs.errors import SyncError

TIMEOUT_SECONDS = 60.0
MAX_BYTES = 8 << 20  # of an answer: 100,000 branches
NOT_FOUND = 127  # a shell's exit code for a missing program
MAX_SHOWN = 5  # branches, where the followed one is not among them
# Variables for git and ssh besides a network's; the rest of our environment has secrets.
INHERITED_VARIABLES = (
    "PATH HOME LANG SSH_AUTH_SOCK GIT_SSH GIT_SSH_VARIANT SSL_CERT_FILE SSL_CERT_DIR GIT_SSL_CAINFO"
)
PROXY_VARIABLES = "HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY https_proxy http_proxy all_proxy no_proxy"

OnStart = Callable[["subprocess.Popen[bytes]"], None]


def git_environment(address: str) -> dict[str, str]:
    """Return git's environment for this address; a login is in it, and in no argument."""
    names = f"{INHERITED_VARIABLES} {PROXY_VARIABLES}".split()
    return {name: os.environ[name] for name in names if name in os.environ} | login_environment(address)


def find_tips(address: str, branches: Sequence[str], on_start: OnStart = lambda _: None) -> dict[str, str]:
    """Return the commit at the tip of each of these branches; a missing branch is left out.

    Empty for a repository without any branch. Raises `SyncError` where the repository cannot be read, or
    has branches and none of these. `on_start` gets each process, so that another thread can end it.
    """
    found = list_heads(address, [f"refs/heads/{branch}" for branch in branches], on_start)
    tips = {branch: found[branch] for branch in branches if branch in found}  # not `a/refs/heads/main`
    if not tips and (others := list_heads(address, ["refs/heads/*"], on_start)):
        listed = ", ".join(list(others)[:MAX_SHOWN]) + (", …" if len(others) > MAX_SHOWN else "")
        raise SyncError("git-no-branch", f"no branch {' or '.join(branches)}; it has {listed}")
    return tips


def list_heads(address: str, patterns: Sequence[str], on_start: OnStart) -> dict[str, str]:
    code, out, wrong = run_ls_remote(address, patterns, on_start)
    if code == NOT_FOUND:
        raise SyncError("git-not-installed", "git is not in PATH")
    if code:
        message = find_error_line(wrong)
        kind = "git-too-large" if ran_out_of_memory(message, address) else "git-unreachable"
        raise SyncError(kind, message)
    lines = (line.partition("\t") for line in out.decode(errors="replace").splitlines())
    return {ref.removeprefix("refs/heads/"): commit for commit, _, ref in lines}


def run_ls_remote(address: str, patterns: Sequence[str], on_start: OnStart) -> tuple[int, bytes, bytes]:
    """Return the exit code, stdout and stderr of `git ls-remote`."""
    command = [GIT, "ls-remote", "--heads", "--", strip_login(address), *patterns]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=git_environment(address),
        cwd="/",  # so that no repository in our working directory has an effect
        start_new_session=True,
    )
    on_start(process)
    try:
        out, wrong = read_output(process, MAX_BYTES, TIMEOUT_SECONDS)
    except OutputTooLongError:
        raise SyncError("git-too-many-branches", f"more than {format_bytes(MAX_BYTES)} of names") from None
    except subprocess.TimeoutExpired:
        raise SyncError("git-unreachable", f"no answer within {TIMEOUT_SECONDS:g} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, out, wrong
