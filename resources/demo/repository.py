"""The demo's git repository: real commits, branches and merges, which are all that the demo remembers."""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from resources.demo import generate
from resources.demo.proposals import EXAMPLE, REQUIREMENTS, Proposal, proposal

START = datetime(2025, 4, 7, 9, 0, tzinfo=UTC)  # the prepared history has the same commits everywhere
MERGED = re.compile(r"Merge pull request #(\d+) from ")


@dataclass(frozen=True)
class Merge:
    """A pull request that is merged: a merge commit on main, from `head` into what was `base` then."""

    number: int
    commit: str
    base: str
    head: str
    at: datetime


class Repository:
    """A bare repository. Every step may be killed and run again: a push moves a branch or does not.

    Which pull requests are merged is read from main's history and written nowhere else.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.work = path, path.with_suffix(".work")

    def create(self) -> None:
        """The first commit and the first model, merged; nothing to do when the repository is there."""
        with self.alone():
            if self.path.exists():
                return
            new = self.path.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            self.git(new, "init", "--quiet", "--bare", "--object-format=sha1", "--initial-branch=main")
            # as GitHub answers; and nothing in the background that outlives a push
            for name in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
                self.git(new, "config", name, "true")
            self.git(new, "config", "receive.autogc", "false")
            with self.checkout(new) as tree:
                self.git(tree, "checkout", "--quiet", "-B", "main")
                shutil.copy(EXAMPLE / "README.md", tree)
                shutil.copy(REQUIREMENTS, tree / "requirements.txt")
                generate.main(tree / "data")
                self.commit(tree, "Two years of visits, and three months to be judged by", "ada", START)
                self.git(tree, "push", "--quiet", "origin", "main")
            self.propose(proposal(1), opened(1), origin=new)
            self.merge(proposal(1), opened(1), at=opened(1) + timedelta(hours=3), origin=new)
            new.rename(self.path)

    def merges(self, origin: Path | None = None) -> dict[int, Merge]:
        """By number, in the order they were merged."""
        log = ["log", "--first-parent", "--merges", "--reverse", "--format=%H %ct %P %s", "main"]
        found = {}
        for line in self.git(origin or self.path, *log).splitlines():
            commit, seconds, base, head, subject = line.split(" ", maxsplit=4)
            if match := MERGED.match(subject):
                at = datetime.fromtimestamp(int(seconds), UTC)
                found[int(match[1])] = Merge(int(match[1]), commit, base, head, at)
        return found

    def head(self, branch: str) -> str | None:
        """The commit that the branch is at, None when there is no such branch."""
        return self.git(self.path, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}") or None

    def propose(self, change: Proposal, at: datetime, origin: Path | None = None) -> str:
        """Put the pull request's branch on top of main, one commit, as its author would; gives its head."""
        with self.checkout(origin or self.path) as tree:
            self.git(tree, "checkout", "--quiet", "-B", change.branch, "origin/main")
            (tree / "main.py").write_text(change.main())
            head = self.commit(tree, f"{change.title}\n\n{change.body}", change.author, at)
            self.git(tree, "push", "--quiet", "--force", "origin", change.branch)
            return head

    def merge(self, change: Proposal, opened_at: datetime, at: datetime, origin: Path | None = None) -> Merge:
        """Merge it into main, or say how it was merged when it already is."""
        origin = origin or self.path
        if change.number not in self.merges(origin):
            self.propose(change, opened_at, origin)
            with self.checkout(origin) as tree:
                text = f"Merge pull request #{change.number} from demo/{change.branch}\n\n{change.title}"
                branch = f"origin/{change.branch}"
                self.git(tree, "merge", "--quiet", "--no-ff", "-m", text, branch, who=change.author, at=at)
                self.git(tree, "push", "--quiet", "origin", "main")
        return self.merges(origin)[change.number]

    def commit(self, tree: Path, message: str, author: str, at: datetime) -> str:
        self.git(tree, "add", "--all")
        self.git(tree, "commit", "--quiet", "--allow-empty", "-m", message, who=author, at=at)
        return self.git(tree, "rev-parse", "HEAD")

    @contextmanager
    def checkout(self, origin: Path) -> Iterator[Path]:
        """A clone with main checked out, for as long as the block; a killed one's rest is removed first."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.git(origin.parent, "clone", "--quiet", str(origin), str(self.work))
        try:
            yield self.work
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One writer at a time, in whatever process."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def git(self, folder: Path, *arguments: str, who: str = "demo", at: datetime = START) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment(who, at),
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"git {arguments[0]} in {folder}: {done.stderr.strip()}")
        return done.stdout.strip()


def environment(who: str, at: datetime) -> dict[str, str]:
    """What git may know: the commit's author and date, and nothing of the settings of whoever runs it."""
    date = f"{int(at.timestamp())} +0000"
    person = {"NAME": who.capitalize(), "EMAIL": f"{who}@example.com", "DATE": date}
    return {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in person.items()},
    }


def opened(number: int) -> datetime:
    """When a prepared pull request was opened."""
    return START + timedelta(days=number)
