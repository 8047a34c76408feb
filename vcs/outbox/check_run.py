"""The GitHub check run of a commit: written, and found again by the id that it has from us.

https://docs.github.com/rest/checks/runs
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from loguru import logger

from common.text import make_storable
from db.check_runs import MAX_ANNOTATIONS
from db.vcs_models import OutboxSubject
from vcs.github_client import GitHubRefusalError
from vcs.outbox.comment import LinkMaker, render_report
from vcs.outbox.github_api import GitHubApi
from vcs.outbox.markdown import make_printable

MAX_OUTPUT_BYTES = 65_535  # GitHub's documents say characters, and it counts bytes
MAX_TITLE_CHARS, MAX_MESSAGE_CHARS, MAX_PATH_CHARS = 140, 1000, 400
MAX_PAGES, PAGE_SIZE = 10, 100
OPEN_STATES = ("queued", "in_progress")
NO_ANNOTATIONS = "GitHub did not take the annotations of this check."
NO_REPORT = "GitHub did not take the report of this check: Slipway's own pages have it."
RECHECK_ACTION = {
    "label": "Check again",
    "description": "Build and judge this commit again",
    "identifier": "recheck",
}

Facts = Mapping[str, Any]
Document = dict[str, Any]


class CheckRunWriter:
    """Writes check runs: one a commit and model, and another one where the last has annotations to stay."""

    def __init__(self, api: GitHubApi, make_link: LinkMaker) -> None:
        self.api, self.make_link = api, make_link

    def write(self, subject: OutboxSubject) -> int:
        """Make or update a subject's check run; return its id.

        One that has ended is written with less where GitHub does not take all of it, so that it ends there.
        """
        runs = f"/repos/{subject.repository}/check-runs"
        body = self.describe(subject)
        found = self.find(subject, runs)
        if found is not None and count_annotations(found):  # GitHub would add these to those that are there
            body["output"].pop("annotations", None)
        *longer, shortest = list_bodies(body)
        for each in longer:
            try:
                return self.send(runs, found, each)
            except GitHubRefusalError as error:
                if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                    raise
                logger.warning("{} is written with less, as GitHub answers: {}", subject.key, error.message)
        return self.send(runs, found, shortest)

    def send(self, runs: str, found: Document | None, body: Document) -> int:
        """Update the check run that was found, or make one; return its id."""
        if found is None:
            return int(self.api.write("POST", runs, body)["id"])
        self.api.write("PATCH", f"{runs}/{found['id']}", body)
        return int(found["id"])

    def find(self, subject: OutboxSubject, runs: str) -> Document | None:
        """Return the check run to update, as GitHub has it; None where one is to be made."""
        if subject.github_id is not None:
            stored = self.get(f"{runs}/{subject.github_id}")
            if stored is not None and can_take(stored, subject):
                return stored
        path = f"/repos/{subject.repository}/commits/{quote(subject.facts['commit'], safe='')}/check-runs"
        query: dict[str, str | int] = {
            "check_name": name_check_run(subject.facts),
            "filter": "all",
            "per_page": PAGE_SIZE,
        }
        if self.api.access.app_id is not None:
            query["app_id"] = self.api.access.app_id
        for page in range(1, MAX_PAGES + 1):
            listed = self.api.get(path, **query, page=page)["check_runs"]
            ours: list[Document] = [run for run in listed if can_take(run, subject)]
            if ours:
                return max(ours, key=lambda run: int(run["id"]))
            if len(listed) < PAGE_SIZE:
                break
        return None

    def get(self, path: str) -> Document | None:
        try:
            found: Document = self.api.get(path)
        except GitHubRefusalError as error:
            if error.status in (404, 410):
                return None
            raise
        return found

    def describe(self, subject: OutboxSubject) -> Document:
        facts, link = subject.facts, self.make_link(subject.facts.get("details_url"))
        report = render_report(facts, self.make_link, MAX_OUTPUT_BYTES)
        annotations = [*filter(None, map(to_annotation, facts.get("annotations") or ()))][:MAX_ANNOTATIONS]
        body: Document = {
            "name": name_check_run(facts),
            "head_sha": facts["commit"],
            "external_id": name_external(subject),
            "output": {"title": to_title(facts["summary"]), "summary": report},
        }
        if link:
            body["details_url"] = link
        if annotations:
            body["output"]["annotations"] = annotations
        if facts["state"] in OPEN_STATES:
            return body | {"status": facts["state"]}
        ended = {"status": "completed", "conclusion": facts["state"], "completed_at": format_now()}
        return body | ended | {"actions": [RECHECK_ACTION]}


def list_bodies(body: Document) -> Iterator[Document]:
    """Yield what to write, and of a check that has ended what to write where GitHub does not take that."""
    yield body
    if body["status"] != "completed":
        return
    output = body["output"]
    if "annotations" in output:
        summary = f"{NO_ANNOTATIONS}\n\n{output['summary']}"
        if len(summary.encode()) <= MAX_OUTPUT_BYTES:
            yield body | {"output": {"title": output["title"], "summary": summary}}
    kept = ("name", "head_sha", "external_id", "status", "conclusion", "completed_at")
    end = {name: body[name] for name in kept}
    yield end | {"output": {"title": "The check has ended", "summary": NO_REPORT}}


def name_check_run(facts: Facts) -> str:
    return f"slipway/{facts['model']}"


def name_external(subject: OutboxSubject) -> str:
    """Return the id by which the check run of the subject's check is found again."""
    return f"{subject.id}:{int(subject.facts['check'])}"


def can_take(run: Document, subject: OutboxSubject) -> bool:
    """Return whether a check run is the subject's, and has no annotations of an earlier check."""
    name = str(run.get("external_id") or "")
    return name == name_external(subject) or (
        name.startswith(f"{subject.id}:") and not count_annotations(run)
    )


def count_annotations(run: Document) -> int:
    return int((run.get("output") or {}).get("annotations_count") or 0)


def to_annotation(raw: Facts) -> Document | None:
    """Return an annotation of a file of the repository; None for anything else."""
    path, line = str(raw["path"]), int(raw["line"])
    parts = PurePosixPath(path).parts
    is_inside = bool(parts) and not path.startswith("/") and ".." not in parts and len(path) <= MAX_PATH_CHARS
    if not is_inside or not 1 <= line < 2**31 or not path.isprintable():
        return None
    message = make_storable(make_printable(str(raw["message"])[:MAX_MESSAGE_CHARS])).strip()
    return {
        "path": path,
        "start_line": line,
        "end_line": line,
        "annotation_level": "failure",
        "message": message or "a traceback ends here",
    }


def to_title(text: str) -> str:
    """Return one line, which GitHub shows as it is."""
    line = " ".join(make_storable(make_printable(text[:1000])).split()) or "no details"
    return line if len(line) <= MAX_TITLE_CHARS else f"{line[: MAX_TITLE_CHARS - 1]}…"


def format_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
