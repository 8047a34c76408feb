"""The history of pushes to a branch, from its git server: commits only, no files."""

import shutil
from pathlib import Path, PurePosixPath

import git

from common.commit_fields import parse_commit_time, split_fields, to_single_line
from common.errors import RejectedError
from common.git_login import GIT_CONFIG_VARIABLES, login_environment, strip_login
from db.pull_requests import Accepted
from ml import manifest
from ml.settings import ModelConfig
from ml.sources.git_checkout import COMMIT_PATTERN
from ml.sources.git_server import (
    FETCH_COMMAND,
    MISSING_MESSAGES,
    TAGS_SECONDS,
    WHOLE_BRANCH_MESSAGES,
    run_git,
    to_unavailable_error,
)

MAX_COMMITS = 100  # commits that are fetched, behind the branch's tip and behind `since_commit`
TIP_REF, KNOWN_REF = "refs/slipway/tip", "refs/slipway/known"
LOG_FORMAT = "--format=%H%x00%ct%x00%<(100,trunc)%an%x00%<(200,trunc)%s%x00"


class PushHistory:
    """The newest commits of a model's branch, in `folder` while `with` lasts. Raises `UnavailableError`."""

    def __init__(
        self, model: ModelConfig, folder: Path, *, token: str = "", host: str = "github.com"
    ) -> None:
        self.model, self.folder = model, folder
        self.login = login_environment(model.clone_url, token, host)
        self.address = strip_login(model.clone_url)
        self.patterns: tuple[str, ...] = (f"refs/heads/{model.branch}",)  # that `find_tip` lists
        self.listed = ""  # what git has answered to that

    def __enter__(self) -> "PushHistory":
        shutil.rmtree(self.folder, ignore_errors=True)
        self.repository = git.Repo.init(self.folder, bare=True)
        self.repository.git.update_environment(**GIT_CONFIG_VARIABLES)
        return self

    def __exit__(self, *_: object) -> None:
        self.repository.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def find_tip(self) -> str | None:
        """Return the commit that the branch is at; None while it does not exist."""
        reference = f"refs/heads/{self.model.branch}"
        heads = ("ls-remote", "--heads", "--", self.address, *self.patterns)
        try:
            self.listed = answer = self.run_on_server(*heads, limit=TAGS_SECONDS)
        except git.GitCommandError as failure:
            raise to_unavailable_error(self.model, failure) from failure
        tips = {ref: commit for commit, _, ref in (line.partition("\t") for line in answer.splitlines())}
        commit = tips.get(reference, "")  # git lists a branch `a/refs/heads/main` as well
        return commit if COMMIT_PATTERN.fullmatch(commit) else None

    def find_new(self, since_commit: str | None) -> list[Accepted]:
        """Return the pushes after `since_commit`, newest first; a branch reset to an older commit has none.

        Only the newest, where `since_commit` is None or no longer available.
        """
        self.fetch_branch(since_commit)
        is_there = any(reference.path == KNOWN_REF for reference in self.repository.references)
        since = [f"^{KNOWN_REF}"] if is_there else ["--max-count=1"]
        plain = ("--first-parent", "--no-show-signature", "--no-color", "--encoding=UTF-8")
        log = self.repository.git.log(
            *plain, f"--max-count={MAX_COMMITS}", LOG_FORMAT, *since, TIP_REF, "--", as_process=True
        )
        each = split_fields(log.stdout)
        found = [
            Accepted(
                self.model.repository,
                0,
                to_single_line(title),
                to_single_line(author),
                commit.strip(),
                parse_commit_time(seconds),
            )
            for commit, seconds, author, title in zip(each, each, each, each, strict=False)
        ]
        log.wait()
        return found

    def is_released_on_push(self, commit: str) -> bool:
        """Return True when the commit's own `slipway.toml` sets that; False where the file is invalid."""
        blob = f"{commit}:{PurePosixPath(self.model.path, 'slipway.toml')}"
        try:
            if int(self.run_on_server("cat-file", "-s", blob)) > manifest.MAX_BYTES:
                return False
            (self.folder / "slipway.toml").write_text(self.run_on_server("cat-file", "blob", blob))
            return manifest.read(self.folder).release.on == "push"
        except (git.GitCommandError, RejectedError):  # it has none, or is invalid
            return False

    def fetch_branch(self, since_commit: str | None) -> None:
        """Fetch the branch, and what is behind `since_commit` where the server still has that."""
        branch = f"+refs/heads/{self.model.branch}:{TIP_REF}"
        if since_commit is not None:
            try:
                return self.fetch_objects(
                    f"--depth={MAX_COMMITS}", "--", self.address, branch, f"+{since_commit}:{KNOWN_REF}"
                )
            except git.GitCommandError as failure:
                if not any(
                    word in str(failure.stderr) for word in (*MISSING_MESSAGES, *WHOLE_BRANCH_MESSAGES)
                ):
                    raise to_unavailable_error(self.model, failure) from failure
        try:
            self.fetch_objects("--depth=1", "--", self.address, branch)
        except git.GitCommandError as failure:
            raise to_unavailable_error(self.model, failure) from failure
        return None

    def fetch_objects(self, *what: str) -> None:
        """Fetch commits, and with them files where the server cannot filter these out."""
        try:
            self.run_on_server(*FETCH_COMMAND, "--filter=tree:0", *what)
        except git.GitCommandError as failure:
            if "filter" not in str(failure.stderr):
                raise
            self.run_on_server(*FETCH_COMMAND, *what)

    def run_on_server(self, *command: str, limit: float | None = None) -> str:
        with self.repository.git.custom_environment(**self.login):
            return run_git(self.repository.git, *command, timeout=limit)
