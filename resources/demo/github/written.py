"""What the fake of GitHub was told: statuses, comments, deployments and check runs, in GitHub's documents.

The documents, limits and errors are those of
https://docs.github.com/rest/commits/statuses, https://docs.github.com/rest/issues/comments,
https://docs.github.com/rest/deployments/deployments and https://docs.github.com/rest/deployments/statuses.
"""

import json
import re
import threading
from pathlib import Path
from typing import Any

from resources.demo.github.documents import WEB_URL, repository_document, user_document
from resources.demo.github.pulls import format_time
from resources.demo.github.responses import (
    GitHubResponse,
    error_response,
    json_response,
    not_found,
    validation_response,
)

ACCOUNT = "slipway-bot"  # whose token it is
MAX_DESCRIPTION_CHARS, MAX_BODY_CHARS = 140, 65_536
MAX_STATUSES = 1000  # of a commit and a context
STATUS_STATES = ("error", "failure", "pending", "success")
DEPLOYMENT_STATES = (*STATUS_STATES, "inactive", "in_progress", "queued")
ENV_URLS = ("target_url", "environment_url", "log_url")

Document = dict[str, Any]


class WrittenStates:
    """Everything that was written. With a `path` every change is on disk before the call returns."""

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.lock = path, threading.RLock()
        stored: Document = json.loads(path.read_text()) if path and path.exists() else {}
        self.statuses: list[Document] = stored.get("statuses", [])
        self.comments: list[Document] = stored.get("comments", [])
        self.deployments: list[Document] = stored.get("deployments", [])
        self.deployment_statuses: list[Document] = stored.get("deployment_statuses", [])
        self.check_runs: list[Document] = stored.get("check_runs", [])
        self.newest_id: int = stored.get("newest_id", 1_000_000)

    def save(self) -> None:
        if self.path:
            kinds = ("statuses", "comments", "deployments", "deployment_statuses", "check_runs", "newest_id")
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps({kind: getattr(self, kind) for kind in kinds}))
            new.replace(self.path)

    def add(self, kind: list[Document], document: Document, account: str, api: str) -> Document:
        """Add a document, with what GitHub adds to each."""
        with self.lock:
            moment, self.newest_id = format_time(None), self.newest_id + 1
            made = {
                "id": self.newest_id,
                "node_id": f"N_{self.newest_id}",
                **document,
                "created_at": moment,
                "updated_at": moment,
                "performed_via_github_app": None,
            }
            made["user" if kind is self.comments else "creator"] = user_document(account, api)
            kind.append(made)
            self.save()
            return made

    def add_comment(
        self, repository: str, number: int, body: str, *, api: str, account: str = ACCOUNT
    ) -> Document:
        document = {
            "issue_url": f"{api}/repos/{repository}/issues/{number}",
            "body": body,
            "author_association": "CONTRIBUTOR",
        }
        made = self.add(self.comments, document, account, api)
        made["url"] = f"{api}/repos/{repository}/issues/comments/{made['id']}"
        made["html_url"] = f"{WEB_URL}/{repository}/pull/{number}#issuecomment-{made['id']}"
        self.save()
        return made

    def delete_comment(self, number: int) -> None:
        """Delete a comment, as a person does."""
        with self.lock:
            self.comments[:] = [one for one in self.comments if one["id"] != number]
            self.save()

    def list_comments(self, repository: str, number: int) -> list[Document]:
        return [one for one in self.comments if one["issue_url"].endswith(f"/{repository}/issues/{number}")]

    def list_statuses(self, sha: str) -> list[Document]:
        """Return the newest status of each context of a commit."""
        return list({one["context"]: one for one in self.statuses if one["sha"] == sha}.values())

    def list_deployments(self, repository: str, query: dict[str, str]) -> list[Document]:
        wanted = {name: query[name] for name in ("sha", "ref", "task", "environment") if name in query}
        return [
            one
            for one in reversed(self.deployments)
            if one["repository_url"].endswith(f"/repos/{repository}")
            and all(one[name] == value for name, value in wanted.items())
        ]

    def list_deployment_statuses(self, deployment: int) -> list[Document]:
        mine = [s for s in self.deployment_statuses if s["deployment_url"].endswith(f"/{deployment}")]
        return mine[::-1]


def create_status(
    written: WrittenStates, repository: str, sha: str, body: Document, api: str
) -> GitHubResponse:
    if not re.fullmatch("[0-9a-f]{40}", sha):
        return validation_response("Status", "sha", f"No commit found for SHA: {sha}")
    context = body.get("context", "default")
    if refused := find_invalid("Status", body, STATUS_STATES):
        return refused
    with written.lock:
        if sum(s["sha"] == sha and s["context"] == context for s in written.statuses) >= MAX_STATUSES:
            return validation_response(
                "Status", "base", "This SHA and context has reached the maximum number of statuses."
            )
        document = {
            "url": f"{api}/repos/{repository}/statuses/{sha}",
            "avatar_url": None,
            "sha": sha,
            "state": body["state"],
            "description": body.get("description"),
            "target_url": body.get("target_url"),
            "context": context,
        }
        return json_response(written.add(written.statuses, document, ACCOUNT, api), 201)


def create_comment(
    written: WrittenStates, repository: str, issue: Document, body: Document, api: str
) -> GitHubResponse:
    if issue["locked"]:
        return error_response(403, "Unable to create comment because issue is locked.")
    if refused := find_invalid_body(body):
        return refused
    return json_response(written.add_comment(repository, issue["number"], body["body"], api=api), 201)


def edit_comment(written: WrittenStates, number: int, body: Document) -> GitHubResponse:
    found = next((one for one in written.comments if one["id"] == number), None)
    if found is None:
        return not_found()
    if found["user"]["login"] != ACCOUNT:
        return error_response(403, "Must have admin rights to Repository.")
    if refused := find_invalid_body(body):
        return refused
    with written.lock:
        found |= {"body": body["body"], "updated_at": format_time(None)}
        written.save()
    return json_response(found)


def create_deployment(written: WrittenStates, repository: str, body: Document, api: str) -> GitHubResponse:
    ref = body.get("ref")
    if not isinstance(ref, str):
        return validation_response("Deployment", "ref", "ref is missing")
    if body.get("auto_merge", True):
        return json_response({"message": "Auto-merged main into the ref on deployment."}, 202)
    checked = [
        s for s in written.list_statuses(ref) if s["context"] in body.get("required_contexts", [s["context"]])
    ]
    if any(status["state"] != "success" for status in checked):
        return error_response(409, f"Conflict: Commit status checks failed for {ref}.")
    environment = body.get("environment", "production")
    document = {
        "repository_url": f"{api}/repos/{repository}",
        "sha": ref,
        "ref": ref,
        "task": body.get("task", "deploy"),
        "payload": body.get("payload", {}),
        "original_environment": environment,
        "environment": environment,
        "description": body.get("description"),
        "transient_environment": body.get("transient_environment", False),
        "production_environment": body.get("production_environment", environment == "production"),
    }
    made = written.add(written.deployments, document, ACCOUNT, api)
    made["url"] = f"{api}/repos/{repository}/deployments/{made['id']}"
    made["statuses_url"] = f"{made['url']}/statuses"
    written.save()
    return json_response(made, 201)


def create_deployment_status(
    written: WrittenStates, repository: str, deployment: int, body: Document, api: str
) -> GitHubResponse:
    if all(one["id"] != deployment for one in written.list_deployments(repository, {})):
        return not_found()
    if refused := find_invalid("DeploymentStatus", body, DEPLOYMENT_STATES):
        return refused
    document = {
        "deployment_url": f"{api}/repos/{repository}/deployments/{deployment}",
        "repository_url": f"{api}/repos/{repository}",
        **{name: body.get(name, "") for name in ("state", "description", "environment", *ENV_URLS)},
    }
    return json_response(written.add(written.deployment_statuses, document, ACCOUNT, api), 201)


def find_invalid(resource: str, body: Document, states: tuple[str, ...]) -> GitHubResponse | None:
    """Return GitHub's 422 where a state, a description or an address is none."""
    if body.get("state") not in states:
        return validation_response(resource, "state", "state is not included in the list")
    if len(body.get("description") or "") > MAX_DESCRIPTION_CHARS:
        message = f"description is too long (maximum is {MAX_DESCRIPTION_CHARS} characters)"
        return validation_response(resource, "description", message)
    for name in ENV_URLS:
        if body.get(name) and not re.match("https?://.", body[name]):
            return validation_response(resource, name, f"{name} must use http(s) scheme")
    return None


def find_invalid_body(body: Document) -> GitHubResponse | None:
    if not str(body.get("body") or "").strip():
        return validation_response("IssueComment", "body", "body can't be blank")
    if len(body["body"]) > MAX_BODY_CHARS:
        message = f"body is too long (maximum is {MAX_BODY_CHARS} characters)"
        return validation_response("IssueComment", "body", message)
    return None


def issue_document(pull: Document, repository: str, api: str) -> Document:
    """Return a pull request as an issue, which it is as well; `pull` is its document."""
    same = ("number", "title", "state", "locked", "active_lock_reason", "user", "body", "labels", "closed_at")
    urls = {"url": pull["url"], "html_url": pull["html_url"], "merged_at": pull["merged_at"]}
    return {
        **{name: pull[name] for name in same},
        "url": f"{api}/repos/{repository}/issues/{pull['number']}",
        "repository_url": repository_document(repository, api)["url"],
        "html_url": pull["html_url"],
        "pull_request": urls,
    }
