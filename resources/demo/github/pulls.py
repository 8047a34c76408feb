"""The pull requests of one repository as GitHub stores them: opened, merged, closed, touched."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

PullRequestState = Literal["open", "closed", "all"]


@dataclass(frozen=True)
class GitHubPullRequest:
    """One pull request in GitHub's terms; `wrong` replaces fields of its document, for garbled records."""

    number: int
    title: str
    body: str | None
    author: str | None  # None: the account is gone
    head: str  # the branch it comes from
    head_sha: str
    base: str  # the branch it goes into
    base_sha: str
    created_at: str
    updated_at: str
    merge_commit_sha: str | None = None  # filled for open ones too: GitHub's test merge
    closed_at: str | None = None
    merged_at: str | None = None
    head_is_gone: bool = False  # the fork that it comes from was deleted
    wrong: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        return "closed" if self.closed_at else "open"


class FakePullRequests:
    """A thread-safe collection. With a `path` every change is on disk before the call returns."""

    def __init__(self, repository: str, path: Path | None = None) -> None:
        self.repository, self.path = repository, path
        self._lock = threading.RLock()
        self._bulk = False
        self._pulls: dict[int, GitHubPullRequest] = {}
        self._sorted: dict[tuple[PullRequestState, str, bool], list[int]] = {}
        if path and path.exists():
            for row in json.loads(path.read_text()):
                self._pulls[row["number"]] = GitHubPullRequest(**row)

    def open(
        self,
        title: str,
        *,
        head: str,
        head_sha: str | None = None,
        base: str = "main",
        base_sha: str | None = None,
        author: str | None = "ada",
        body: str | None = None,
        at: datetime | None = None,
        head_is_gone: bool = False,
    ) -> int:
        """Open a pull request and return its number. Commits that are not given are made up."""
        with self._lock:
            number = max(self._pulls, default=0) + 1
            self._store_pull(
                GitHubPullRequest(
                    number,
                    title,
                    body,
                    author,
                    head,
                    head_sha or self.fake_commit_id("head", number),
                    base,
                    base_sha or self.fake_commit_id("base", number),
                    created_at=(moment := format_time(at)),
                    updated_at=moment,
                    merge_commit_sha=self.fake_commit_id("test merge", number),
                    head_is_gone=head_is_gone,
                )
            )
            return number

    def merge(self, number: int, commit: str | None = None, at: datetime | None = None) -> GitHubPullRequest:
        moment, commit = format_time(at), commit or self.fake_commit_id("merge", number)
        return self._change(number, at, closed_at=moment, merged_at=moment, merge_commit_sha=commit)

    def close(self, number: int, at: datetime | None = None) -> GitHubPullRequest:
        return self._change(number, at, closed_at=format_time(at))

    def touch(self, number: int, at: datetime | None = None, **changes: Any) -> GitHubPullRequest:
        """Act as a comment or an edit: `updated_at` moves, `changes` replace fields."""
        return self._change(number, at, **changes)

    def get(self, number: int) -> GitHubPullRequest:
        try:
            return self._pulls[number]
        except KeyError:
            raise ValueError(f"{self.repository} has no pull request {number}") from None

    def list_pulls(
        self, state: PullRequestState = "all", by: str = "created_at", newest_first: bool = True
    ) -> list[GitHubPullRequest]:
        with self._lock:
            key = (state, by, newest_first)
            if key not in self._sorted:
                chosen = [p for p in self._pulls.values() if state in ("all", p.state)]
                chosen.sort(key=lambda p: (getattr(p, by), p.number), reverse=newest_first)
                self._sorted[key] = [p.number for p in chosen]
            return [self._pulls[number] for number in self._sorted[key]]

    def fake_commit_id(self, *words: object) -> str:
        """Return a made-up commit, the same for the same words."""
        text = "|".join(map(str, (self.repository, *words)))
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    @contextmanager
    def batch_changes(self) -> Iterator[None]:
        """Write many changes to disk once."""
        with self._lock:
            self._bulk = True
            try:
                yield
            finally:
                self._bulk = False
                self._save()

    def _change(self, number: int, at: datetime | None, **changes: Any) -> GitHubPullRequest:
        with self._lock:
            changed = replace(self.get(number), **{"updated_at": format_time(at), **changes})
            self._store_pull(changed)
            return changed

    def _store_pull(self, pull: GitHubPullRequest) -> None:
        self._pulls[pull.number] = pull
        self._sorted.clear()
        self._save()

    def _save(self) -> None:
        if self._bulk or not self.path:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps([asdict(pull) for pull in self._pulls.values()]))
        new.replace(self.path)


def format_time(at: datetime | None) -> str:
    return (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_epoch(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))


def generate_pulls(pulls: FakePullRequests, count: int) -> None:
    """Generate `count` pull requests: seven in ten merged, two closed, one open; the same every time.

    Some have lost their author or their fork.
    """
    start = datetime(2024, 1, 1, tzinfo=UTC)
    text = 'Why: the naïve widget broke on "quotes", tabs\t, backslashes \\N and 漢字. ' * 6
    with pulls.batch_changes():
        for number in range(1, count + 1):
            at = start + timedelta(minutes=37 * number)
            done = at + timedelta(hours=1 + number * 7919 % 900)
            new = pulls.open(
                f"Mend widget {number} 🚀",
                head=f"feature-{number}",
                author=f"dev{number % 97}" if number % 11 else None,
                body=text if number % 7 else None,
                at=at,
                head_is_gone=number % 13 == 0,
            )
            if number % 10 in (3, 7):
                pulls.close(new, at=done)
            elif number % 10:
                pulls.merge(new, at=done)
