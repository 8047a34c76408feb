"""GitHub's check runs in the fake: https://docs.github.com/rest/checks/runs."""

import re
from typing import Any

from resources.demo.github.documents import WEB_URL
from resources.demo.github.pulls import format_time
from resources.demo.github.responses import GitHubResponse, json_response, not_found, validation_response
from resources.demo.github.written import Document, WrittenStates

MAX_OUTPUT_BYTES = 65_535  # GitHub's documents say characters, and it counts bytes
MAX_ANNOTATIONS = 50  # in one request; those of the next are added
MAX_ACTIONS = 3
ACTION_LIMITS = {"label": 20, "description": 40, "identifier": 20}
STATUSES = ("queued", "in_progress", "completed")
CONCLUSIONS = (
    "action_required",
    "cancelled",
    "failure",
    "neutral",
    "skipped",
    "success",
    "timed_out",
)
LEVELS = ("notice", "warning", "failure")
FIELDS = ("name", "details_url", "external_id", "status", "conclusion", "started_at", "completed_at")


def create_check_run(
    written: WrittenStates, repository: str, body: Document, api: str, app: Document
) -> GitHubResponse:
    if not body.get("name"):
        return validation_response("CheckRun", "name", "name is missing")
    if not re.fullmatch("[0-9a-f]{40}", str(body.get("head_sha"))):
        return validation_response("CheckRun", "head_sha", f"No commit found for SHA: {body.get('head_sha')}")
    if refused := find_invalid(body):
        return refused
    made = {
        "head_sha": body["head_sha"],
        "external_id": "",
        "status": "queued",
        "conclusion": None,
        "started_at": format_time(None),
        "completed_at": None,
        "output": {"title": None, "summary": None, "text": None, "annotations_count": 0},
        "check_suite": {"id": 5},
        "app": app,
        "pull_requests": [],
        "actions": [],
        "annotations": [],
    }
    with written.lock:
        stored = written.add(written.check_runs, made, app["slug"], api)
        stored["url"] = f"{api}/repos/{repository}/check-runs/{stored['id']}"
        stored["html_url"] = f"{WEB_URL}/{repository}/runs/{stored['id']}"
        change(stored, body)
        written.save()
    return json_response(show(stored), 201)


def update_check_run(written: WrittenStates, repository: str, number: int, body: Document) -> GitHubResponse:
    found = find_check_run(written, repository, number)
    if found is None:
        return not_found()
    if refused := find_invalid(body):
        return refused
    with written.lock:
        change(found, body)
        written.save()
    return json_response(show(found))


def change(run: Document, body: Document) -> None:
    """Take over what a request names; annotations are added to those of before."""
    run |= {name: body[name] for name in FIELDS if name in body}
    if "conclusion" in body:
        run["status"] = "completed"
        run["completed_at"] = body.get("completed_at") or format_time(None)
    elif body.get("status") in STATUSES[:2]:
        run |= {"conclusion": None, "completed_at": None}
    run["actions"] = body.get("actions", [])
    if output := body.get("output"):
        run["annotations"] = [*run["annotations"], *output.get("annotations", [])]
        run["output"] = {
            "title": output["title"],
            "summary": output["summary"],
            "text": output.get("text"),
            "annotations_count": len(run["annotations"]),
            "annotations_url": f"{run['url']}/annotations",
        }


def find_invalid(body: Document) -> GitHubResponse | None:
    """Return GitHub's 422 for what it does not take."""
    output, actions = body.get("output") or {}, body.get("actions") or []
    annotations = output.get("annotations") or []
    message = None
    if body.get("status", "queued") not in STATUSES:
        message = ("status", "status is not included in the list")
    elif body.get("status") == "completed" and "conclusion" not in body:
        message = ("conclusion", "conclusion is missing")
    elif body.get("conclusion", "success") not in CONCLUSIONS:
        message = ("conclusion", "conclusion is not included in the list")
    elif output and not (output.get("title") and output.get("summary")):
        message = ("output", "title and summary are missing")
    elif any(len((output.get(name) or "").encode()) > MAX_OUTPUT_BYTES for name in ("summary", "text")):
        message = ("summary", f"summary exceeds a maximum bytesize of {MAX_OUTPUT_BYTES}")
    elif len(annotations) > MAX_ANNOTATIONS:
        message = ("annotations", f"annotations exceeds a maximum quantity of {MAX_ANNOTATIONS}")
    elif not all(map(is_annotation, annotations)):
        message = ("annotations", "an annotation is invalid")
    elif len(actions) > MAX_ACTIONS or not all(map(is_action, actions)):
        message = ("actions", "an action is invalid")
    elif body.get("details_url") and not re.match("https?://.", body["details_url"]):
        message = ("details_url", "details_url must use http(s) scheme")
    return validation_response("CheckRun", *message) if message else None


def is_annotation(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("path"), str)
        and 0 < one.get("start_line", 0) <= one.get("end_line", 0)
        and one.get("annotation_level") in LEVELS
        and 0 < len(str(one.get("message") or "").encode()) <= 64 << 10
        and len(one.get("title") or "") <= 255
    )


def is_action(one: Any) -> bool:
    return isinstance(one, dict) and all(
        0 < len(str(one.get(name) or "")) <= limit for name, limit in ACTION_LIMITS.items()
    )


def find_check_run(written: WrittenStates, repository: str, number: int) -> Document | None:
    return next(
        (run for run in written.check_runs if run["id"] == number and is_of(run, repository)),
        None,
    )


def list_check_runs(written: WrittenStates, repository: str, sha: str, query: dict[str, str]) -> Document:
    """Return the check runs of a commit, newest first; of each name the newest, unless all are wanted."""
    found = [run for run in reversed(written.check_runs) if run["head_sha"] == sha and is_of(run, repository)]
    if "check_name" in query:
        found = [run for run in found if run["name"] == query["check_name"]]
    if "app_id" in query:
        found = [run for run in found if str(run["app"]["id"]) == query["app_id"]]
    if query.get("filter", "latest") == "latest":
        newest = {run["name"]: run for run in reversed(found)}
        found = [run for run in found if newest[run["name"]] is run]
    size, page = min(100, int(query.get("per_page", 30))), int(query.get("page", 1))
    return {"total_count": len(found), "check_runs": [*map(show, found[(page - 1) * size : page * size])]}


def is_of(run: Document, repository: str) -> bool:
    return f"/repos/{repository}/check-runs/" in run["url"]


def show(run: Document) -> Document:
    """Return the document without what GitHub gives at other addresses."""
    return {name: value for name, value in run.items() if name not in ("annotations", "actions", "creator")}
