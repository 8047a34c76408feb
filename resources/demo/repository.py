"""The demo's git repository: real commits, branches and merges, which are all of the demo's state."""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from resources.demo import generate
from resources.demo.pull_requests import EXAMPLE_FOLDER, REQUIREMENTS, Proposal, make_proposal

START_TIME = datetime(2025, 4, 7, 9, 0, tzinfo=UTC)  # the prepared history has the same commits everywhere
NOT_HERE = "this demo has no folder of data: that needs the appliance that `make up` runs"
MERGE_SUBJECT = re.compile(r"Merge pull request #(\d+) from ")


@dataclass(frozen=True)
class DemoMerge:
    """A merged pull request: a merge commit on main, of `head` into what was `base` then."""

    number: int
    commit: str
    base: str
    head: str
    at: datetime


class DemoRepository:
    """A bare repository. Every step may be killed and run again: a push moves a branch or does not.

    Which pull requests are merged is read from main's history and stored nowhere else.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.work = path, path.with_suffix(".work")

    def create(self) -> None:
        """Create the first commit and the first model, merged; do nothing when the repository exists."""
        with self.lock_exclusively():
            if self.path.exists():
                return
            new = self.path.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            self.run_git(new, "init", "--quiet", "--bare", "--object-format=sha1", "--initial-branch=main")
            # as GitHub has it; and nothing in the background that outlives a push
            for name in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
                self.run_git(new, "config", name, "true")
            self.run_git(new, "config", "receive.autogc", "false")
            with self.open_checkout(new) as tree:
                self.run_git(tree, "checkout", "--quiet", "-B", "main")
                shutil.copy(EXAMPLE_FOLDER / "README.md", tree)
                shutil.copy(REQUIREMENTS, tree / "requirements.txt")
                generate.main(tree / "data")
                self.commit_all(
                    tree, "Two years of visits, and three months to be judged by", "ada", START_TIME
                )
                self.run_git(tree, "push", "--quiet", "origin", "main")
            self.push_proposal(make_proposal(1), opened_time(1), origin=new)
            self.merge_proposal(
                make_proposal(1), opened_time(1), at=opened_time(1) + timedelta(hours=3), origin=new
            )
            new.rename(self.path)

    def list_merges(self, origin: Path | None = None) -> dict[int, DemoMerge]:
        """Return merges by number, in the order they were merged."""
        log = ["log", "--first-parent", "--merges", "--reverse", "--format=%H %ct %P %s", "main"]
        found = {}
        for line in self.run_git(origin or self.path, *log).splitlines():
            commit, seconds, base, head, subject = line.split(" ", maxsplit=4)
            if match := MERGE_SUBJECT.match(subject):
                at = datetime.fromtimestamp(int(seconds), UTC)
                found[int(match[1])] = DemoMerge(int(match[1]), commit, base, head, at)
        return found

    def find_head(self, branch: str) -> str | None:
        """Return the commit at the branch's tip, None when there is no such branch."""
        return (
            self.run_git(self.path, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}") or None
        )

    def push_proposal(self, change: Proposal, at: datetime, origin: Path | None = None) -> str:
        """Push the pull request's branch on top of main, one commit, as its author would; return its head."""
        with self.open_checkout(origin or self.path) as tree:
            self.run_git(tree, "checkout", "--quiet", "-B", change.branch, "origin/main")
            (tree / "main.py").write_text(change.render_main())
            head = self.commit_all(tree, f"{change.title}\n\n{change.body}", change.author, at)
            self.run_git(tree, "push", "--quiet", "--force", "origin", change.branch)
            return head

    def merge_proposal(
        self, change: Proposal, opened_at: datetime, at: datetime, origin: Path | None = None
    ) -> DemoMerge:
        """Merge it into main, or return its merge when it already is."""
        origin = origin or self.path
        if change.number not in self.list_merges(origin):
            self.push_proposal(change, opened_at, origin)
            self.merge_onto(change, "origin/main", at, "main", origin)
        return self.list_merges(origin)[change.number]

    def merge_onto(
        self, change: Proposal, base: str, at: datetime, into: str, origin: Path | None = None
    ) -> str:
        """Merge the pull request's branch onto `base`, and push that as the branch `into`; return the commit.

        Raises `RuntimeError` for a conflict.
        """
        with self.open_checkout(origin or self.path) as tree:
            self.run_git(tree, "checkout", "--quiet", "--detach", base)
            text = f"Merge pull request #{change.number} from demo/{change.branch}\n\n{change.title}"
            branch = f"origin/{change.branch}"
            self.run_git(tree, "merge", "--quiet", "--no-ff", "-m", text, branch, who=change.author, at=at)
            self.run_git(tree, "push", "--quiet", "origin", f"HEAD:refs/heads/{into}")
            return self.run_git(tree, "rev-parse", "HEAD")

    def find_commit(self, subject: str) -> str | None:
        """Return the newest commit of main with this subject."""
        log = ("log", "--first-parent", "--format=%H", f"--grep=^{subject}$", "-1", "main")
        return self.run_git(self.path, *log) or None

    def push_change(self, subject: str, author: str, at: datetime, change: Callable[[Path], None]) -> str:
        """Push a commit to main that has what `change` does to its files; return it."""
        with self.open_checkout(self.path) as tree:
            self.run_git(tree, "checkout", "--quiet", "-B", "main", "origin/main")
            change(tree)
            commit = self.commit_all(tree, subject, author, at)
            self.run_git(tree, "push", "--quiet", "origin", "main")
            return commit

    def commit_all(self, tree: Path, message: str, author: str, at: datetime) -> str:
        self.run_git(tree, "add", "--all")
        self.run_git(tree, "commit", "--quiet", "--allow-empty", "-m", message, who=author, at=at)
        return self.run_git(tree, "rev-parse", "HEAD")

    @contextmanager
    def open_checkout(self, origin: Path) -> Iterator[Path]:
        """Clone with main checked out, for as long as the block; a killed one's rest is removed first."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.run_git(origin.parent, "clone", "--quiet", str(origin), str(self.work))
        try:
            yield self.work
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def lock_exclusively(self) -> Iterator[None]:
        """Hold the lock of the one writer, in whatever process."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def run_git(self, folder: Path, *arguments: str, who: str = "demo", at: datetime = START_TIME) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=commit_environment(who, at),
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"git {arguments[0]} in {folder}: {done.stderr.strip()}")
        return done.stdout.strip()


def commit_environment(who: str, at: datetime) -> dict[str, str]:
    """Return git's environment: the commit's author and date, and none of the settings of whoever runs it."""
    date = f"{int(at.timestamp())} +0000"
    person = {"NAME": who.capitalize(), "EMAIL": f"{who}@example.com", "DATE": date}
    return {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in person.items()},
    }


def opened_time(number: int) -> datetime:
    """Return when a prepared pull request was opened."""
    return START_TIME + timedelta(days=number)
