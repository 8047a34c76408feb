"""Runs inside the tap's environment: tap-github, and what an appliance needs of it added from outside.

    python tap.py JOB REPORT        the numbers of two open files

JOB     {"config": …, "state": …, "catalog": …, "newest": …}
REPORT  {"requests": n, "rows": n, "newest": {"time": …, "asked": …, "records": {id: [time, fingerprint]}},
         "quota": {"limit": n, "remaining": n, "until": seconds of this machine's monotonic clock},
         "failure": {"kind": …, "message": …, "wait": seconds or null}}     `failure` only when there is one

Left alone, tap-github 4.0.0 asks for 30 a page, sleeps for an hour when the quota is used up and then dies,
takes a 404 for success, skips records without a time, and sends the newest ones again each time. All it asks
goes through `GithubClient.authed_get`, which is replaced here; the rest is as it came. The token is in JOB:
it stands in no file on a disk, no argument list and no environment.
"""

import hashlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests  # of the tap's environment, as the next ones
import singer  # type: ignore[import-not-found]
from tap_github import streams  # type: ignore[import-not-found]
from tap_github.client import GithubClient  # type: ignore[import-not-found]
from tap_github.sync import sync  # type: ignore[import-not-found]

START = "1970-01-01T00:00:00Z"
TIME = "%Y-%m-%dT%H:%M:%SZ"
LOOK_BACK = 600  # seconds that GitHub may take to show a change
PAUSES = (0.5, 1.5)  # between tries; what lasts longer is for the next sync
PATIENCE = 5  # seconds: a limit that is lifted sooner is waited for
TIMEOUT = 30  # seconds without a byte from GitHub
TYPES = {"string": str, "integer": int, "null": type(None)}
LARGEST = 2**63 - 1  # that Postgres can hold
NEEDED = ("id", "number", "state", "base_ref", "created_at", "updated_at")

Record = dict[str, Any]


class Failure(Exception):
    """No pull requests came; when it is `passing`, asking again at once may help."""

    def __init__(self, kind: str, message: str, *, wait: int | None = None, passing: bool = False) -> None:
        super().__init__(message)
        self.kind, self.message, self.wait, self.passing = kind, message, wait, passing

    def pause(self, usual: float) -> float | None:
        """How long to wait before asking again; None: not at all."""
        if self.wait is not None:
            return self.wait if self.wait <= PATIENCE else None
        return usual if self.passing else None


class Report:
    """What the supervisor wants to know, written whenever it changes: the tap may be killed."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.facts: dict[str, Any] = {"requests": 0, "rows": 0}

    def say(self, **facts: Any) -> None:
        self.facts.update(facts)
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, json.dumps(self.facts).encode(), 0)

    def asked(self, headers: Any) -> None:
        """Times are GitHub's: what is left of the window is kept by a clock that nobody sets."""
        named = {name: headers.get(f"X-RateLimit-{name}", "") for name in ("limit", "remaining", "reset")}
        self.say(requests=self.facts["requests"] + 1)
        if all(value.isdigit() for value in named.values()):
            until = time.monotonic() + int(named["reset"]) - now(headers)
            self.say(
                quota={"limit": int(named["limit"]), "remaining": int(named["remaining"]), "until": until}
            )


class News:
    """Leaves out what the last sync brought, of the minutes before the newest, which are asked for again.

    GitHub's times are whole seconds, and a change may be shown later than one that was made after it. Neither
    does an older version of a record take the place of a newer one.
    """

    def __init__(self, last: dict[str, Any], *, is_whole: bool) -> None:
        self.known: dict[str, list[str]] = last.get("records", {})
        self.seen = dict(self.known)
        self.time: str = last.get("time", START)
        self.settled: float | None = None if is_whole else last.get("asked")
        self.asked: float | None = None

    def among(self, page: list[Record]) -> list[Record]:
        """`page` comes newest first."""
        if page:
            self.time = max(self.time, page[0]["updated_at"])
        return [record for record in page if not self.is_known(record)]

    def is_known(self, record: Record) -> bool:
        fingerprint = hashlib.sha256(json.dumps(record).encode()).hexdigest()[:32]
        mine, key = [record["updated_at"], fingerprint], str(record["id"])
        before = self.known.get(key, ["", ""])
        if mine[0] >= max(before[0], back(self.time)):
            self.seen[key] = mine
        return mine == before or mine[0] < before[0]

    def is_the_end(self, page: list[Record], fresh: list[Record]) -> bool:
        """Whether what follows was long settled when it was asked for last: many may have changed at once."""
        if not page or fresh or self.settled is None:
            return False
        oldest = datetime.fromisoformat(page[-1]["updated_at"])
        return oldest.timestamp() < self.settled - LOOK_BACK

    def newest(self) -> dict[str, Any]:
        """What the next sync has to know."""
        since = back(self.time)
        records = {key: record for key, record in self.seen.items() if record[0] >= since}
        return {"time": self.time, "asked": self.asked, "records": records}


def back(moment: str) -> str:
    """A time of GitHub's, as much earlier as it may show something late."""
    earlier = datetime.fromisoformat(moment).timestamp() - LOOK_BACK
    return datetime.fromtimestamp(max(0, earlier), UTC).strftime(TIME)


def now(headers: Any) -> float:
    """Seconds since 1970 by GitHub's clock; by ours where it does not tell."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return time.time()


class Page:
    """What tap-github wants of an answer."""

    def __init__(self, records: list[Record], links: dict[str, dict[str, str]]) -> None:
        self.records, self.links = records, links

    def json(self) -> list[Record]:
        return self.records


class GitHub:
    """Asks GitHub in the place of `GithubClient.authed_get`."""

    def __init__(self, job: dict[str, Any], report: Report) -> None:
        self.session = requests.Session()
        self.session.headers["Accept"] = "application/vnd.github+json"
        if token := job["config"]["access_token"]:
            self.session.headers["Authorization"] = f"token {token}"
        self.properties: dict[str, Any] = job["catalog"]["streams"][0]["schema"]["properties"]
        self.report = report
        self.news = News(job["newest"], is_whole=not job["state"])

    def authed_get(self, _source: str, url: str, *_: Any, **__: Any) -> Page:
        for usual in (*PAUSES, None):
            try:
                return self.once(url)
            except requests.RequestException as error:
                failure = Failure("unreachable", root(error), passing=True)
            except Failure as error:
                failure = error
            pause = None if usual is None else failure.pause(usual)
            if pause is None:
                break
            time.sleep(pause)
        raise failure

    def once(self, url: str) -> Page:
        answer = self.session.get(url, timeout=TIMEOUT)
        self.report.asked(answer.headers)
        judge(answer)
        self.news.asked = self.news.asked or now(answer.headers)
        try:
            records = json.loads(answer.content)
        except ValueError:
            kind = "html" if answer.content.lstrip()[:1] == b"<" else "truncated"
            raise Failure(kind, words(answer), passing=True) from None
        if not isinstance(records, list):
            raise Failure("malformed", f"in place of a list of pull requests came {words(answer)}")
        page = [self.slim(record) for record in records]
        fresh = self.news.among(page)
        return Page(fresh, {} if self.news.is_the_end(page, fresh) else answer.links)

    def slim(self, raw: Any) -> Record:
        """The fields of the catalog and no others: what Slipway does not read can stop no sync."""
        if not isinstance(raw, dict):
            raise Failure("malformed", f"in place of a pull request came {str(raw)[:100]!r}")
        user, head, base = (part(raw, name) for name in ("user", "head", "base"))
        flat = {
            **raw,
            "user_login": user.get("login"),
            "head_ref": head.get("ref"),
            "head_sha": head.get("sha"),
            "base_ref": base.get("ref"),
        }
        record = {name: tidy(flat[name]) for name in self.properties if name in flat}
        for name, value in record.items():
            self.check(record, name, value)
        if missing := [name for name in NEEDED if record.get(name) is None]:
            raise Failure("malformed", f"pull request {record.get('number')} has no {', '.join(missing)}")
        return record

    def check(self, record: Record, name: str, value: Any) -> None:
        allowed = self.properties[name]
        too_large = isinstance(value, int) and abs(value) > LARGEST
        if type(value) not in (TYPES[word] for word in allowed["type"]) or too_large:
            raise Failure("malformed", f"pull request {record.get('number')}: {name} is {str(value)[:100]!r}")
        if allowed.get("format") == "date-time" and value is not None and not is_time(value):
            message = f"pull request {record.get('number')}: {name} is no time: {value[:100]!r}"
            raise Failure("malformed", message)


def is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def part(record: Record, name: str) -> Record:
    """GitHub has null for a user or a fork that is gone."""
    found = record.get(name) or {}
    if not isinstance(found, dict):
        raise Failure("malformed", f"pull request {record.get('number')}: {name} is {str(found)[:100]!r}")
    return found


def judge(answer: requests.Response) -> None:
    """`Failure` unless the answer is one; GitHub says both 403 and 429 for a limit."""
    status = answer.status_code
    if status == requests.codes.ok:
        return
    message = f"{status}: {words(answer)}"
    if status in (requests.codes.forbidden, requests.codes.too_many_requests):
        limited(answer, message)
    kinds = {
        401: "unauthorized",
        403: "forbidden",
        404: "not-found",
        429: "secondary-rate-limit",
        451: "forbidden",
    }
    if status >= requests.codes.internal_server_error:
        raise Failure("server-error", message, passing=True)
    raise Failure(kinds.get(status, "unexpected"), message)


def limited(answer: requests.Response, message: str) -> None:
    """`Failure` with the seconds to wait, where the answer is a limit."""
    headers = answer.headers
    if headers.get("Retry-After", "").isdigit():
        raise Failure("secondary-rate-limit", message, wait=int(headers["Retry-After"]))
    if headers.get("X-RateLimit-Remaining") == "0":
        reset = headers.get("X-RateLimit-Reset", "")
        left = int(reset) - now(headers) + 1 if reset.isdigit() else 60
        raise Failure("rate-limit", message, wait=max(1, int(left)))
    if "rate limit" in message or answer.status_code == requests.codes.too_many_requests:
        raise Failure("secondary-rate-limit", message, wait=60)  # GitHub: "wait at least one minute"


def root(error: BaseException) -> str:
    """What the system said, under the wrapping of requests and urllib3."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    said = error.strerror if isinstance(error, OSError) else None
    return said or str(error) or type(error).__name__


def words(answer: requests.Response) -> str:
    """GitHub's own message, or how the answer begins."""
    try:
        return str(json.loads(answer.content)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(answer.content[:200].decode("utf-8", "replace").split())


def tidy(value: Any) -> Any:
    """Postgres takes neither NUL nor half of a surrogate pair in a text, and GitHub takes both in a title."""
    if not isinstance(value, str) or (value.isascii() and "\x00" not in value):
        return value
    return value.replace("\x00", "").encode("utf-8", "replace").decode()


def count(report: Report) -> None:
    """Each record that goes to the target is a row."""
    write = singer.write_record

    def counted(*arguments: Any, **named: Any) -> None:
        report.facts["rows"] += 1
        write(*arguments, **named)

    singer.write_record = counted


def hasten() -> None:
    """Twice as fast: records are checked against the catalog here, and GitHub's times are all of one form."""
    requests.models.CONTENT_CHUNK_SIZE = 1 << 20
    singer.Transformer.transform = lambda _, record, *__, **___: record
    singer.utils.strptime_to_utc = datetime.fromisoformat


def look_back(state: dict[str, Any], newest: dict[str, Any]) -> None:
    """Have the tap ask from some minutes before the newest record on."""
    for bookmarks in state.get("bookmarks", {}).values():
        for bookmark in bookmarks.values():
            bookmark["since"] = back(newest["time"])


def main(job_file: int, report_file: int) -> int:
    with open(job_file, "rb") as file:
        job = json.load(file)
    report = Report(report_file)
    github = GitHub(job, report)
    look_back(job["state"], job["newest"])
    GithubClient.authed_get = github.authed_get
    streams.PullRequests.path += "&per_page=100"
    count(report)
    hasten()
    try:
        sync(GithubClient(job["config"]), job["config"], job["state"], job["catalog"])
    except Failure as failure:
        report.say(failure={"kind": failure.kind, "message": failure.message, "wait": failure.wait})
        return 1
    except BrokenPipeError:  # the target says why
        report.say(failure={"kind": "target-gone", "message": "the target stopped reading", "wait": None})
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered has nowhere to go
        return 1
    sys.stdout.flush()
    report.say(newest=github.news.newest())
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
