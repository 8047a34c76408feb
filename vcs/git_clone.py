"""A bare clone of a followed git repository, inside the tap's environment; nothing in a commit is trusted."""

import ctypes
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

from common.commit_fields import parse_commit_time, split_fields, to_single_line
from common.git_login import find_error_line, ran_out_of_memory

MAX_COMMITS = 200  # commits of a branch in one sync, the newest ones
MAX_TEXT_CHARS = 256  # of a subject or a name, like a title on GitHub
LOG_FORMAT = "--format=%H%x00%ct%x00%an%x00%s%x00"
MAX_PACK_BYTES = 8 << 30  # of one fetch
MAX_PACKS = 50  # in a clone: beyond that it is made from scratch
# commits only, or as little as the server supports
FETCH_FILTERS = ("--filter=tree:0", "--filter=blob:none", "")
# git's messages about a clone after a power cut
CORRUPTION_MESSAGES = ("object file", "bad object", "corrupt", "packfile", "index file", "reference broken")
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
prctl = ctypes.CDLL(None).prctl


class GitTapError(Exception):
    """A failure after which no records, or not all, were sent."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


class Commit(NamedTuple):
    """A commit as its repository has it, with text cleaned."""

    id: str
    committed_at: datetime
    author: str
    subject: str


class BareClone:
    """A bare clone of ours; files are fetched only where the server has to send them."""

    def __init__(self, program: str, folder: Path, address: str, environment: dict[str, str]) -> None:
        self.program, self.folder, self.address = program, folder, address
        self.network_environment = {**os.environ, **environment}
        # with no server allowed, git does not fetch missing objects
        self.offline_environment = {**self.network_environment, "GIT_ALLOW_PROTOCOL": "none"}

    def fetch(self, branches: Sequence[str]) -> None:
        """Fetch the server's current tips of these branches."""
        try:
            self.ensure_clone()
            self.fetch_branches(branches)
        except GitTapError as failure:
            if failure.kind != "git-broken" and not any(
                word in failure.message for word in CORRUPTION_MESSAGES
            ):
                raise
            shutil.rmtree(self.folder)
            self.ensure_clone()
            self.fetch_branches(branches)

    def ensure_clone(self) -> None:
        """Create a missing clone. We hold its lock: git's locks and partial packs are of a killed git."""
        packs = self.folder / "objects/pack"
        if len(list(packs.glob("*.pack"))) > MAX_PACKS:
            shutil.rmtree(self.folder)
        for left in [*self.folder.glob("*.lock"), *self.folder.glob("refs/**/*.lock"), *packs.glob("tmp_*")]:
            left.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run_git("init", "--quiet", "--bare")
        self.run_git("config", "remote.origin.url", self.address)

    def fetch_branches(self, branches: Sequence[str]) -> None:
        refs = [f"+refs/heads/{branch}:{ref_name(branch)}" for branch in branches]
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow")
        for wanted in FETCH_FILTERS:
            fetch = ("-c", "fetch.unpackLimit=1", "fetch", *options, *filter(None, [wanted]), "origin", *refs)
            try:
                self.run_git(*fetch, environment=self.network_environment)
            except GitTapError as failure:
                if not wanted or "filter" not in failure.message:
                    raise
            else:
                return

    def find_tip(self, branch: str) -> str:
        return self.run_git("rev-parse", "--verify", f"{ref_name(branch)}^{{commit}}")

    def git_succeeds(self, *command: str) -> bool:
        """Return whether git succeeds."""
        with suppress(GitTapError):
            self.run_git(*command)
            return True
        return False

    def count_commits(self, tip: str) -> int:
        """Count the commits of the first-parent line, from the root on."""
        return int(self.run_git("rev-list", "--count", "--first-parent", tip))

    def list_commits(self, *revisions: str, limit: int = MAX_COMMITS) -> list[Commit]:
        """Return the newest commits of a first-parent line, newest first."""
        plain = ("--no-show-signature", "--no-notes", "--no-color", "--encoding=UTF-8")
        log = ("log", "--first-parent", f"--max-count={limit}", *plain, LOG_FORMAT, *revisions, "--")
        with tempfile.TemporaryFile() as wrong:
            process = self.start(log, self.offline_environment, subprocess.PIPE, wrong)
            assert process.stdout
            with process.stdout as out:
                values = list(split_fields(out))
            if process.wait():
                wrong.seek(0)
                raise GitTapError("git-broken", find_error_line(wrong.read(1 << 16)))
        each = iter(values)
        return [
            Commit(
                commit.strip(),
                parse_commit_time(when),
                to_single_line(author)[:MAX_TEXT_CHARS],
                to_single_line(subject)[:MAX_TEXT_CHARS],
            )
            for commit, when, author, subject in zip(each, each, each, each, strict=False)
        ]

    def run_git(self, *command: str, environment: dict[str, str] | None = None) -> str:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as wrong:
            code = self.start(command, environment or self.offline_environment, out, wrong).wait()
            out.seek(0)
            wrong.seek(0)
            if code:
                message = find_error_line(wrong.read(1 << 16))
                kind = "git-unreachable" if environment else "git-broken"
                raise GitTapError(
                    "git-too-large" if ran_out_of_memory(message, self.address) else kind, message
                )
            return out.read(1 << 16).decode(errors="replace").strip()

    def start(
        self, command: Sequence[str], environment: dict[str, str], out: IO[bytes] | int, wrong: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [self.program, f"--git-dir={self.folder}", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=wrong,
            env=environment,
            cwd="/",
            preexec_fn=limit_child,  # noqa: PLW1509 (one thread)
        )


def limit_child() -> None:
    """Make git die with us, and limit the size of its files."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limit = MAX_PACK_BYTES if hard == resource.RLIM_INFINITY else min(MAX_PACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))


def ref_name(branch: str) -> str:
    """Return our clone's ref of a branch: `a` may go and `a/b` come, which git cannot store together."""
    return f"refs/tips/{hashlib.sha256(branch.encode()).hexdigest()[:16]}"
