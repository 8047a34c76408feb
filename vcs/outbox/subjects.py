"""How each kind of subject is written to GitHub, and found again where it may have been written before."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from loguru import logger

from common.text import make_storable
from db.outbox import SubjectKind
from db.vcs_models import OutboxSubject
from vcs.github_client import GitHubRefusalError
from vcs.outbox.check_run import CheckRunWriter
from vcs.outbox.comment import make_marker, render_comment
from vcs.outbox.github_api import GitHubApi
from vcs.outbox.markdown import make_printable

MAX_DESCRIPTION_CHARS = 140
MAX_PAGES, PAGE_SIZE = 20, 100
CLOCK_SKEW = timedelta(days=1)  # between Postgres and GitHub, at most
GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

StoreId = Callable[[int], None]
Facts = Mapping[str, Any]


class NothingToShowError(Exception):
    """There is nothing to write now: no comment is begun on a closed or locked pull request."""


class DeletedError(Exception):
    """A person deleted what was written: it is not made again."""


class SubjectWriter:
    """Writes subjects; `base_url` is the appliance's address for people, or empty."""

    def __init__(self, api: GitHubApi, base_url: str) -> None:
        self.api, self.base_url = api, base_url
        self.check_runs = CheckRunWriter(api, self.make_link)
        self._account: int | None = None

    def write(self, subject: OutboxSubject, store_id: StoreId) -> None:
        """Have GitHub show a subject's facts; `store_id` is called with the id of what was made or found."""
        match subject.kind:
            case SubjectKind.STATUS:
                self.write_status(subject)
            case SubjectKind.COMMENT:
                self.write_comment(subject, store_id)
            case SubjectKind.DEPLOYMENT:
                self.write_deployment(subject, store_id)
            case SubjectKind.CHECK_RUN:
                store_id(self.check_runs.write(subject))

    def make_link(self, url: str | None) -> str | None:
        """Return an address of the appliance in full; None where it has none for people."""
        if url and url.startswith("/") and not url.startswith("//"):
            return f"{self.base_url}{quote(url, safe='/?&=#%')}" if self.base_url else None
        return quote(url, safe=":/?&=#%@[]") if url and url.startswith(("https://", "http://")) else None

    def write_status(self, subject: OutboxSubject) -> None:
        """Write a commit status: one that has ended without its texts where GitHub does not take them."""
        facts = subject.facts
        body = {
            "state": facts["state"],
            "context": f"slipway/{facts['model']}",
            "description": shorten(facts["description"]),
            "target_url": self.make_link(facts["target_url"]),
        }
        statuses = f"/repos/{subject.repository}/statuses/{quote(facts['commit'], safe='')}"
        try:
            self.api.write("POST", statuses, body)
        except GitHubRefusalError as error:
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or facts["state"] == "pending":
                raise
            logger.warning("{} is written with less, as GitHub answers: {}", subject.key, error.message)
            self.api.write("POST", statuses, {"state": facts["state"], "context": body["context"]})

    def write_comment(self, subject: OutboxSubject, store_id: StoreId) -> None:
        facts, body = subject.facts, {"body": render_comment(subject.id, subject.facts, self.make_link)}
        issue = f"/repos/{subject.repository}/issues/{int(facts['number'])}"
        known = subject.github_id or self.find_comment(subject, issue)
        if known is not None:
            store_id(known)
            self.edit_comment(f"/repos/{subject.repository}/issues/comments/{known}", issue, body)
            return
        shown = self.api.get(issue)
        if not facts.get("is_open", True) or shown["state"] != "open" or shown.get("locked"):
            raise NothingToShowError
        try:
            store_id(self.api.write("POST", f"{issue}/comments", body)["id"])
        except GitHubRefusalError as error:
            if is_locked(error):
                raise NothingToShowError from error
            raise

    def edit_comment(self, comment: str, issue: str, body: Facts) -> None:
        try:
            self.api.write("PATCH", comment, body)
        except GitHubRefusalError as error:
            if is_locked(error):
                raise NothingToShowError from error
            if error.status in GONE and self.is_there(issue) and not self.is_there(comment):
                raise DeletedError from error
            raise

    def find_comment(self, subject: OutboxSubject, issue: str) -> int | None:
        """Return the id of the comment that our own account made for this subject; None if there is none."""
        marker, since = make_marker(subject.id), format_since(subject.created_at)
        for page in range(1, MAX_PAGES + 1):
            found = self.api.get(f"{issue}/comments", since=since, per_page=PAGE_SIZE, page=page)
            for comment in found:
                if marker in (comment["body"] or "") and (comment["user"] or {}).get("id") == self.account:
                    return int(comment["id"])
            if len(found) < PAGE_SIZE:
                break
        return None

    @property
    def account(self) -> int:
        """Return the id of the account that writes."""
        if self._account is None:
            self._account = self.api.find_account()
        return self._account

    def write_deployment(self, subject: OutboxSubject, store_id: StoreId) -> None:
        facts, deployments = subject.facts, f"/repos/{subject.repository}/deployments"
        known = subject.github_id or self.find_deployment(subject, deployments)
        if known is None:
            known = int(self.api.write("POST", deployments, describe_deployment(subject))["id"])
        store_id(known)
        status = {
            "state": facts["state"],
            "description": shorten(facts["description"]),
            "environment_url": self.make_link(facts["environment_url"]) or "",
            "log_url": self.make_link(facts["log_url"]) or "",
            "auto_inactive": False,
        }
        try:
            self.api.write("POST", f"{deployments}/{known}/statuses", status)
        except GitHubRefusalError as error:
            is_visible = error.status in GONE and self.is_there(f"/repos/{subject.repository}")
            if is_visible and not self.is_there(f"{deployments}/{known}"):
                raise DeletedError from error
            raise

    def find_deployment(self, subject: OutboxSubject, deployments: str) -> int | None:
        """Return the id of the GitHub deployment that was made for this subject; None if none was."""
        facts = subject.facts
        for page in range(1, MAX_PAGES + 1):
            found = self.api.get(
                deployments,
                sha=facts["commit"],
                environment=name_environment(facts),
                per_page=PAGE_SIZE,
                page=page,
            )
            for deployment in found:
                if read_payload(deployment) == str(subject.id):
                    return int(deployment["id"])
            if len(found) < PAGE_SIZE:
                break
        return None

    def is_there(self, path: str) -> bool:
        try:
            self.api.get(path)
        except GitHubRefusalError as error:
            if error.status in GONE:
                return False
            raise
        return True


def describe_deployment(subject: OutboxSubject) -> dict[str, Any]:
    facts = subject.facts
    return {
        "ref": facts["commit"],
        "environment": name_environment(facts),
        "required_contexts": [],
        "auto_merge": False,
        "payload": {"slipway": str(subject.id), "release": facts["release"]},
        "description": shorten(f"Release {facts['release']} of {facts['model']}"),
        "production_environment": True,
    }


def name_environment(facts: Facts) -> str:
    return f"slipway/{facts['model']}"


def read_payload(deployment: Facts) -> str | None:
    """Return our id in a deployment's payload, which others may have filled with anything."""
    payload = deployment.get("payload")
    found = payload.get("slipway") if isinstance(payload, dict) else None
    return found if isinstance(found, str) else None


def is_locked(error: GitHubRefusalError) -> bool:
    return error.status == HTTPStatus.FORBIDDEN and "locked" in error.message


def shorten(text: str) -> str:
    """Return one line of at most as many characters as GitHub takes."""
    line = " ".join(make_storable(make_printable(text[:1000])).split())
    return line if len(line) <= MAX_DESCRIPTION_CHARS else f"{line[: MAX_DESCRIPTION_CHARS - 1]}…"


def format_since(moment: datetime) -> str:
    return (moment.astimezone(UTC) - CLOCK_SKEW).strftime("%Y-%m-%dT%H:%M:%SZ")
