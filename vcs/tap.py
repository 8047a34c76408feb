"""A Singer tap, inside the tap's environment: tap-github, adapted from outside to what an appliance needs.

    python tap.py JOB REPORT        the numbers of two open files

JOB     {"config": …, "state": …, "catalog": …, "newest": …}
REPORT  {"requests": n, "rows": n,
         "newest": {"time": …, "asked": …, "etag": …, "records": {id: [time, fingerprint]}},
         "quota": {"limit": n, "remaining": n, "until": seconds of this machine's monotonic clock},
         "failure": {"kind": …, "message": …, "wait": seconds or null}}     `failure` only when there is one

Unmodified, tap-github 4.0.0 fetches 30 a page, sleeps for an hour when the quota is used up and then dies,
takes a 404 for success, skips records without a time, and sends the newest ones again each time. All its
requests go through `GithubClient.authed_get`, which is replaced here; the rest is unchanged. The token is in
JOB: it is in no file on a disk, no argument list and no environment.
"""

import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import requests  # of the tap's environment, as the next ones
import singer  # type: ignore[import-not-found]
from tap_github import streams  # type: ignore[import-not-found]
from tap_github.client import GithubClient  # type: ignore[import-not-found]
from tap_github.sync import sync  # type: ignore[import-not-found]

# our own modules, after those of the tap's environment: `python -I` finds none beside a program
sys.path.append(str(Path(__file__).parents[1]))

from vcs.deduplicator import Deduplicator, Record, subtract_overlap
from vcs.github_errors import (
    TapError,
    check_response,
    find_message,
    find_root_message,
    read_answer,
    read_github_clock,
)

RETRY_SECONDS = (0.5, 1.5)  # between attempts; longer outages are for the next sync
TIMEOUT_SECONDS = 30  # without a byte from GitHub
JSON_TYPES = {"string": str, "integer": int, "boolean": bool, "null": type(None)}
MAX_INTEGER = 2**63 - 1  # the largest that Postgres can store
REQUIRED_FIELDS = ("id", "number", "state", "base_ref", "created_at", "updated_at")


class TapReport:
    """A report for vcs, written whenever it changes: the tap may be killed."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.facts: dict[str, Any] = {"requests": 0, "rows": 0}

    def update_facts(self, **facts: Any) -> None:
        self.facts.update(facts)
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, json.dumps(self.facts).encode(), 0)

    def record_request(self, headers: Any) -> None:
        """Record a request and the quota; a monotonic clock has the window's end, from GitHub's times."""
        named = {name: headers.get(f"X-RateLimit-{name}", "") for name in ("limit", "remaining", "reset")}
        self.update_facts(requests=self.facts["requests"] + 1)
        if all(value.isdigit() for value in named.values()):
            until = time.monotonic() + int(named["reset"]) - read_github_clock(headers)
            self.update_facts(
                quota={"limit": int(named["limit"]), "remaining": int(named["remaining"]), "until": until}
            )


class RecordPage:
    """A response with the attributes that tap-github reads."""

    def __init__(self, records: list[Record], links: dict[str, dict[str, str]]) -> None:
        self.records, self.links = records, links

    def json(self) -> list[Record]:
        return self.records


class PullRequestFetcher:
    """A client of GitHub in place of `GithubClient.authed_get`."""

    def __init__(self, job: dict[str, Any], report: TapReport) -> None:
        self.session = requests.Session()
        self.session.headers["Accept"] = "application/vnd.github+json"
        if token := job["config"]["access_token"]:
            self.session.headers["Authorization"] = f"token {token}"
        self.properties: dict[str, Any] = job["catalog"]["streams"][0]["schema"]["properties"]
        self.report = report
        self.deduplicator = Deduplicator(job["newest"], is_whole=not job["state"])

    def authed_get(self, _source: str, url: str, *_: Any, **__: Any) -> RecordPage:
        for usual in (*RETRY_SECONDS, None):
            try:
                return self.fetch_page(url)
            except requests.RequestException as error:
                failure = TapError("unreachable", find_root_message(error), is_transient=True)
            except TapError as error:
                failure = error
            pause = None if usual is None else failure.retry_delay(usual)
            if pause is None:
                break
            time.sleep(pause)
        raise failure

    def fetch_page(self, url: str) -> RecordPage:
        with self.session.get(url, timeout=TIMEOUT_SECONDS, stream=True) as answer:
            self.report.record_request(answer.headers)
            content = read_answer(answer)
        check_response(answer, content)
        self.deduplicator.requested_at = self.deduplicator.requested_at or read_github_clock(answer.headers)
        try:
            records = json.loads(content)
        except (ValueError, RecursionError):
            kind = "html" if content.lstrip()[:1] == b"<" else "truncated"
            raise TapError(kind, find_message(content), is_transient=True) from None
        if not isinstance(records, list):
            raise TapError("malformed", f"in place of a list of pull requests came {find_message(content)}")
        self.deduplicator.etag = self.deduplicator.etag or answer.headers.get("ETag")
        page = [self.to_record(record) for record in records]
        fresh = self.deduplicator.drop_seen(page)
        return RecordPage(fresh, {} if self.deduplicator.is_last_page(page, fresh) else answer.links)

    def to_record(self, raw: Any) -> Record:
        """Return only the catalog's fields: fields that Slipway does not read can stop no sync."""
        if not isinstance(raw, dict):
            raise TapError("malformed", f"in place of a pull request came {str(raw)[:100]!r}")
        user, head, base = (get_object(raw, name) for name in ("user", "head", "base"))
        head_repository, base_repository = get_object(head, "repo"), get_object(base, "repo")
        flat = {
            **raw,
            "user_login": user.get("login"),
            "user_id": user.get("id"),
            "head_ref": head.get("ref"),
            "head_sha": head.get("sha"),
            "head_repository_id": head_repository.get("id"),
            "head_owner_id": get_object(head_repository, "owner").get("id"),
            "base_repository_id": base_repository.get("id"),
            "base_ref": base.get("ref"),
        }
        record = {name: clean_text(flat[name]) for name in self.properties if name in flat}
        for name, value in record.items():
            self.check_field(record, name, value)
        if missing := [name for name in REQUIRED_FIELDS if record.get(name) is None]:
            raise TapError("malformed", f"pull request {record.get('number')} has no {', '.join(missing)}")
        return record

    def check_field(self, record: Record, name: str, value: Any) -> None:
        allowed = self.properties[name]
        too_large = isinstance(value, int) and abs(value) > MAX_INTEGER
        if type(value) not in (JSON_TYPES[word] for word in allowed["type"]) or too_large:
            raise TapError(
                "malformed", f"pull request {record.get('number')}: {name} is {str(value)[:100]!r}"
            )
        if allowed.get("format") == "date-time" and value is not None and not is_time(value):
            message = f"pull request {record.get('number')}: {name} is no time: {value[:100]!r}"
            raise TapError("malformed", message)


def is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def get_object(record: Record, name: str) -> Record:
    """Return an object field; GitHub has null for a deleted user or fork."""
    found = record.get(name) or {}
    if not isinstance(found, dict):
        raise TapError("malformed", f"pull request {record.get('number')}: {name} is {str(found)[:100]!r}")
    return found


def clean_text(value: Any) -> Any:
    """Remove characters that Postgres refuses and GitHub allows in a title: NUL and lone surrogates."""
    if not isinstance(value, str) or (value.isascii() and "\x00" not in value):
        return value
    return value.replace("\x00", "").encode("utf-8", "replace").decode()


def count_records(report: TapReport) -> None:
    """Count each record that goes to the target as a row."""
    write = singer.write_record

    def counted(*arguments: Any, **named: Any) -> None:
        report.facts["rows"] += 1
        write(*arguments, **named)

    singer.write_record = counted


def patch_singer() -> None:
    """Make Singer twice as fast: records are checked here, and GitHub's times have one form."""
    singer.Transformer.transform = lambda _, record, *__, **___: record
    singer.utils.strptime_to_utc = datetime.fromisoformat


def rewind_bookmarks(state: dict[str, Any], newest: dict[str, Any]) -> None:
    """Make the tap fetch from some minutes before the newest record on."""
    for bookmarks in state.get("bookmarks", {}).values():
        for bookmark in bookmarks.values():
            bookmark["since"] = subtract_overlap(newest["time"])


def main(job_file: int, report_file: int) -> int:
    with open(job_file, "rb") as file:
        job = json.load(file)
    report = TapReport(report_file)
    github = PullRequestFetcher(job, report)
    rewind_bookmarks(job["state"], job["newest"])
    GithubClient.authed_get = github.authed_get
    streams.PullRequests.path += "&per_page=100"
    count_records(report)
    patch_singer()
    try:
        sync(GithubClient(job["config"]), job["config"], job["state"], job["catalog"])
    except TapError as failure:
        report.update_facts(failure={"kind": failure.kind, "message": failure.message, "wait": failure.wait})
        return 1
    except BrokenPipeError:  # the target reports the cause
        report.update_facts(
            failure={"kind": "target-gone", "message": "the target stopped reading", "wait": None}
        )
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered has nowhere to go
        return 1
    sys.stdout.flush()
    report.update_facts(newest=github.deduplicator.to_bookmark())
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
