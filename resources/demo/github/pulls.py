"""The pull requests of one repository as GitHub keeps them: opened, merged, closed, touched."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

State = Literal["open", "closed", "all"]


@dataclass(frozen=True)
class PullRequest:
    """One pull request in GitHub's words; `wrong` replaces fields of its document, for garbled records."""

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


class PullRequests:
    """Safe for several threads. With a `path` every change is on disk before the call returns."""

    def __init__(self, repository: str, path: Path | None = None) -> None:
        self.repository, self.path = repository, path
        self._lock = threading.RLock()
        self._bulk = False
        self._pulls: dict[int, PullRequest] = {}
        self._sorted: dict[tuple[State, str, bool], list[int]] = {}
        if path and path.exists():
            for row in json.loads(path.read_text()):
                self._pulls[row["number"]] = PullRequest(**row)

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
        """The new pull request's number. Commits that nobody names are made up."""
        with self._lock:
            number = max(self._pulls, default=0) + 1
            self._put(
                PullRequest(
                    number,
                    title,
                    body,
                    author,
                    head,
                    head_sha or self.commit("head", number),
                    base,
                    base_sha or self.commit("base", number),
                    created_at=(moment := stamp(at)),
                    updated_at=moment,
                    merge_commit_sha=self.commit("test merge", number),
                    head_is_gone=head_is_gone,
                )
            )
            return number

    def merge(self, number: int, commit: str | None = None, at: datetime | None = None) -> PullRequest:
        moment, commit = stamp(at), commit or self.commit("merge", number)
        return self._change(number, at, closed_at=moment, merged_at=moment, merge_commit_sha=commit)

    def close(self, number: int, at: datetime | None = None) -> PullRequest:
        return self._change(number, at, closed_at=stamp(at))

    def touch(self, number: int, at: datetime | None = None, **changes: Any) -> PullRequest:
        """As when somebody comments on it or edits it: `updated_at` moves, `changes` replace fields."""
        return self._change(number, at, **changes)

    def get(self, number: int) -> PullRequest:
        try:
            return self._pulls[number]
        except KeyError:
            raise ValueError(f"{self.repository} has no pull request {number}") from None

    def list(
        self, state: State = "all", by: str = "created_at", newest_first: bool = True
    ) -> list[PullRequest]:
        with self._lock:
            key = (state, by, newest_first)
            if key not in self._sorted:
                chosen = [p for p in self._pulls.values() if state in ("all", p.state)]
                chosen.sort(key=lambda p: (getattr(p, by), p.number), reverse=newest_first)
                self._sorted[key] = [p.number for p in chosen]
            return [self._pulls[number] for number in self._sorted[key]]

    def commit(self, *words: object) -> str:
        """A made-up commit, the same for the same words."""
        text = "|".join(map(str, (self.repository, *words)))
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Many changes, written to disk once."""
        with self._lock:
            self._bulk = True
            try:
                yield
            finally:
                self._bulk = False
                self._save()

    def _change(self, number: int, at: datetime | None, **changes: Any) -> PullRequest:
        with self._lock:
            changed = replace(self.get(number), **{"updated_at": stamp(at), **changes})
            self._put(changed)
            return changed

    def _put(self, pull: PullRequest) -> None:
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


def stamp(at: datetime | None) -> str:
    return (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fill(pulls: PullRequests, count: int) -> None:
    """`count` pull requests: seven in ten merged, two closed, one open; the same every time.

    Some have lost their author or their fork.
    """
    start = datetime(2024, 1, 1, tzinfo=UTC)
    text = 'Why: the naïve widget broke on "quotes", tabs\t, backslashes \\N and 漢字. ' * 6
    with pulls.at_once():
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
