"""Real git repositories for tests: a model's history, written commit by commit and merge by merge."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

Files = Mapping[str, str | bytes | None]  # None takes the file away

AUTHOR = {
    "GIT_AUTHOR_NAME": "Dana Scientist",
    "GIT_AUTHOR_EMAIL": "dana@example.com",
    "GIT_COMMITTER_NAME": "Dana Scientist",
    "GIT_COMMITTER_EMAIL": "dana@example.com",
    # a test must not read the git settings of whoever runs it
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


class ModelRepository:
    """A model repository in a folder of its own; `url` is what `SLIPWAY_CLONE_URL` takes.

        repository = ModelRepository(tmp_path / "web-traffic")
        first = repository.write(working.quick(smape=0.3)).commit("First model")
        better = repository.merge_pull_request(1, working.quick(smape=0.2))

    `tests/models/` has the files of repositories that work (`working`) and that do not (`faulty`).
    """

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path, self.branch = path, branch
        path.mkdir(parents=True, exist_ok=True)
        if not (path / ".git").exists():
            self.git("init", "--quiet", f"--initial-branch={branch}")
            self.commit("Start")

    @property
    def url(self) -> str:
        return self.path.as_uri()

    @property
    def head(self) -> str:
        """The commit that the branch is at."""
        return self.git("rev-parse", self.branch)

    def write(self, files: Files) -> "ModelRepository":
        """Write files into the work tree; `None` removes one. The others stay."""
        for name, text in files.items():
            file = self.path / name
            if text is None:
                file.unlink(missing_ok=True)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode() if isinstance(text, str) else text)
        return self

    def commit(self, message: str) -> str:
        """Commit what the work tree holds, changed or not; gives the commit's sha."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def propose(self, number: int, files: Files, title: str = "") -> str:
        """A pull request as a branch of its own with one commit, not merged; gives that commit's sha."""
        self.git("checkout", "--quiet", "-B", f"pull-request-{number}", self.branch)
        head = self.write(files).commit(title or f"Change {number}")
        self.git("checkout", "--quiet", self.branch)
        return head

    def merge_pull_request(self, number: int, files: Files, title: str = "", *, squash: bool = False) -> str:
        """Propose and merge; gives GitHub's `merge_commit_sha`: a merge commit, or the squashed one."""
        branch = f"pull-request-{number}"
        self.propose(number, files, title)
        if squash:
            self.git("merge", "--quiet", "--squash", branch)
            return self.commit(f"{title or branch} (#{number})")
        self.git("merge", "--quiet", "--no-ff", f"--message=Merge pull request #{number}", branch)
        return self.head

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.path), **AUTHOR},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
