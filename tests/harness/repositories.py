"""Real git repositories for tests: a model's history, written commit by commit and merge by merge."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

Files = Mapping[str, str | bytes | None]  # None removes the file

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
    """A model repository in a folder of its own; `url` is for `SLIPWAY_CLONE_URL`.

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
        """The commit at the head of the branch."""
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
        """Commit the work tree, changed or not; return the commit's sha."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def propose(self, number: int, files: Files, title: str = "") -> str:
        """Create a pull request as a branch with one commit, not merged; return that commit's sha."""
        self.git("checkout", "--quiet", "-B", f"pull-request-{number}", self.branch)
        head = self.write(files).commit(title or f"Change {number}")
        self.git("checkout", "--quiet", self.branch)
        return head

    def merge_pull_request(self, number: int, files: Files, title: str = "", *, squash: bool = False) -> str:
        """Propose and merge; return GitHub's `merge_commit_sha`: a merge commit, or the squashed one."""
        branch = f"pull-request-{number}"
        self.propose(number, files, title)
        if squash:
            self.git("merge", "--quiet", "--squash", branch)
            return self.commit(f"{title or branch} (#{number})")
        self.git("merge", "--quiet", "--no-ff", f"--message=Merge pull request #{number}", branch)
        return self.head

    def queue(self, numbers: Sequence[int], how: str = "merge") -> list[str]:
        """Put proposed pull requests into the merge queue in this order, as GitHub does.

        Return the commits of their groups: each is on top of the one before it.
        """
        before, commits = self.head, []
        for number in numbers:
            self.git("checkout", "--quiet", "--detach", before)
            self.apply(number, how)
            group = self.git("rev-parse", "HEAD")
            self.git("branch", "--force", f"gh-readonly-queue/{self.branch}/pr-{number}-{before}", group)
            commits.append(group)
            before = group
        self.git("checkout", "--quiet", self.branch)
        return commits

    def apply(self, number: int, how: str) -> None:
        """Merge a proposed pull request into what is checked out, in one of GitHub's three ways."""
        branch = f"pull-request-{number}"
        if how == "merge":
            self.git("merge", "--quiet", "--no-ff", f"--message=Merge pull request #{number}", branch)
        elif how == "squash":
            self.git("merge", "--quiet", "--squash", branch)
            self.commit(f"{branch} (#{number})")
        else:
            self.git("cherry-pick", "--allow-empty", branch)
            self.git("commit", "--quiet", "--amend", "--message=Rebased")

    def list_queue(self, pattern: str = "*") -> list[str]:
        """Return the branches of merge groups."""
        below = f"refs/heads/gh-readonly-queue/{self.branch}/{pattern}"
        return self.git("for-each-ref", "--format=%(refname:short)", below).split()

    def git(self, *arguments: str) -> str:
        return self.feed(None, *arguments)

    def feed(self, text: str | None, *arguments: str) -> str:
        """Run git with `text` as its standard input."""
        return subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.path), **AUTHOR},
            check=True,
            capture_output=True,
            input=text,
            text=True,
        ).stdout.strip()
