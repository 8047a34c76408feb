"""A Singer tap, inside the tap's environment: pushes to branches of a git repository as Singer's records.

    python git_tap.py JOB REPORT        the numbers of two open files

JOB     {"config": {"repository": name, "address": …, "clone": folder, "branches": […],
          "git": program, "environment": {…}},
         "catalog": …, "newest": {"branches": {branch: {"commit": …, "time": …, "number": n}}}}
REPORT  {"requests": n, "rows": n, "newest": as in JOB, "notes": [line, …],
         "failure": {"kind": …, "message": …, "wait": null}}     `failure` only when there is one

Each commit on the first-parent line of a branch is one accepted change, in the records that tap-github sends
for a merged pull request. Commits are untrusted: their times are put in order, texts cut and cleaned.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import singer  # type: ignore[import-not-found]  # of the tap's environment

# our own modules, after those of the tap's environment: `python -I` finds none beside a program
sys.path.append(str(Path(__file__).parents[1]))

from vcs.git_clone import MAX_COMMITS, BareClone, Commit, GitTapError

TICK = timedelta(microseconds=1)

Json = dict[str, Any]


def assign_times(commits: Sequence[Commit], after: datetime | None, now: datetime) -> list[datetime]:
    """Return when each was accepted, oldest first: its own time, but after the previous one, and by now."""
    times: list[datetime] = []
    for left, commit in zip(reversed(range(len(commits))), commits, strict=True):
        when = min(commit.committed_at, now - left * TICK)
        after = when if after is None else max(when, after + TICK)
        times.append(after)
    return times


class GitTap:
    """A tap that sends each branch's new commits, and stores the bookmark of the next sync."""

    def __init__(self, job: Json, report: Json) -> None:
        self.config, self.report = job["config"], report
        self.known_branches: Json = job["newest"].get("branches", {})
        self.stream: Json = job["catalog"]["streams"][0]
        program, folder = self.config["git"], Path(self.config["clone"])
        self.clone = BareClone(program, folder, self.config["address"], self.config["environment"])

    def sync_branches(self) -> None:
        folder = self.clone.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.report["requests"] += 1
            self.clone.fetch(self.config["branches"])
            schema, key = self.stream["schema"], self.stream["key_properties"]
            singer.write_schema(self.stream["stream"], schema, key)
            found = {branch: self.send_branch(branch) for branch in self.config["branches"]}
        newest = {"branches": self.known_branches | found}
        singer.write_state(newest)
        self.report["newest"] = newest

    def send_branch(self, branch: str) -> Json:
        """Send a branch's new commits; return its bookmark."""
        last_sync, tip = self.known_branches.get(branch), self.clone.find_tip(branch)
        if last_sync and last_sync["commit"] == tip:
            return dict(last_sync)
        commits = self.find_new(branch, tip, last_sync and last_sync["commit"])[::-1]
        after = datetime.fromisoformat(last_sync["time"]) if last_sync else None
        times = assign_times(commits, after, datetime.now(UTC))
        last = last_sync.get("number", 0) if last_sync else 0
        first = max(self.clone.count_commits(tip) - len(commits), last) + 1
        for number, (commit, when) in enumerate(zip(commits, times, strict=True), first):
            singer.write_record(self.stream["stream"], self.to_record(branch, number, commit, when))
            self.report["rows"] += 1
        return {"commit": tip, "time": times[-1].isoformat(), "number": first + len(commits) - 1}

    def find_new(self, branch: str, tip: str, last_commit: str | None) -> list[Commit]:
        """Return the commits pushed after the last one, newest first; at least the newest."""
        if last_commit is None:
            return self.clone.list_commits(tip)
        if not self.clone.git_succeeds("cat-file", "-e", f"{last_commit}^{{commit}}"):
            self.add_note(f"{branch} was rewritten, and {last_commit[:8]} is gone: {tip[:8]} is the newest")
            return self.clone.list_commits(tip, limit=1)
        found = self.clone.list_commits(tip, f"^{last_commit}") or self.clone.list_commits(tip, limit=1)
        if not self.clone.git_succeeds("merge-base", "--is-ancestor", last_commit, tip):
            self.add_note(f"{branch} was rewritten after {last_commit[:8]}: {tip[:8]} is the newest")
        if len(found) == MAX_COMMITS:
            self.add_note(
                f"{branch} got {MAX_COMMITS} or more commits at once: it stores the newest {MAX_COMMITS}"
            )
        return found

    def add_note(self, line: str) -> None:
        self.report.setdefault("notes", []).append(f"{self.config['repository']}: {line}")

    def to_record(self, branch: str, number: int, commit: Commit, when: datetime) -> Json:
        """Return the record that tap-github sends for a merged pull request.

        `number` is its position in the branch; after a branch was rewritten it is the next free one.
        """
        repository, time = self.config["repository"], when.isoformat()
        digest = hashlib.sha256(f"{repository}\0{branch}\0{commit.id}".encode()).digest()
        return {
            "_sdc_repository": repository,
            "id": int.from_bytes(digest[:8], "big") >> 1,
            "number": number,
            "state": "closed",
            "title": commit.subject,
            "html_url": None,
            "user_login": commit.author,
            "base_ref": branch,
            "head_ref": None,
            "head_sha": commit.id,
            "merge_commit_sha": commit.id,
            "created_at": time,
            "updated_at": time,
            "closed_at": time,
            "merged_at": time,
        }


def main(job_file: int, report_file: int) -> int:
    with open(job_file, "rb") as file:
        job = json.load(file)
    report: Json = {"requests": 0, "rows": 0}
    try:
        GitTap(job, report).sync_branches()
        sys.stdout.flush()
    except GitTapError as failure:
        report["failure"] = {"kind": failure.kind, "message": failure.message, "wait": None}
    except BrokenPipeError:  # the target reports the cause
        report["failure"] = {"kind": "target-gone", "message": "the target stopped reading", "wait": None}
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered has nowhere to go
    except OSError as error:
        report["failure"] = {"kind": "git-broken", "message": str(error), "wait": None}
    os.pwrite(report_file, json.dumps(report).encode(), 0)
    return 1 if "failure" in report else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
