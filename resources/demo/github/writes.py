"""The part of GitHub's REST API that `vcs` writes with, and reads its own writings again."""

import json
from typing import TYPE_CHECKING
from urllib.parse import unquote

from resources.demo.github.check_runs import (
    create_check_run,
    find_check_run,
    list_check_runs,
    show,
    update_check_run,
)
from resources.demo.github.documents import pull_document, user_document
from resources.demo.github.pulls import FakePullRequests
from resources.demo.github.responses import GitHubResponse, error_response, json_response, not_found
from resources.demo.github.written import (
    ACCOUNT,
    Document,
    create_comment,
    create_deployment,
    create_deployment_status,
    create_status,
    edit_comment,
    issue_document,
)

if TYPE_CHECKING:
    from resources.demo.github.server import FakeGitHub


def find_issue(pulls: FakePullRequests, number: str, api: str) -> Document | None:
    """Return a pull request as an issue; None where it was never opened."""
    try:
        pull = pull_document(pulls.repository, pulls.get(int(number)), api)
    except ValueError:
        return None
    return issue_document(pull, pulls.repository, api)


def answer_write(
    github: "FakeGitHub", pulls: FakePullRequests | None, path: list[str], raw: bytes
) -> GitHubResponse:
    """Answer `POST` and `PATCH`; `path` begins with the method."""
    try:
        body = json.loads(raw)
    except ValueError:
        return error_response(400, "Problems parsing JSON")
    if pulls is None or not isinstance(body, dict):
        return not_found()
    written, repository, api = github.written, pulls.repository, github.url
    answer = not_found()
    if "check-runs" in path and github.app is None:
        return error_response(403, "You must authenticate via a GitHub App.")
    match path:
        case ["POST", "check-runs"] if github.app:
            answer = create_check_run(written, repository, body, api, github.app.app_document(api))
        case ["PATCH", "check-runs", number] if number.isdigit():
            answer = update_check_run(written, repository, int(number), body)
        case ["POST", "statuses", sha]:
            answer = create_status(written, repository, sha, body, api)
        case ["POST", "issues", number, "comments"] if issue := find_issue(pulls, number, api):
            answer = create_comment(written, repository, issue, body, api)
        case ["PATCH", "issues", "comments", number] if number.isdigit():
            answer = edit_comment(written, int(number), body)
        case ["POST", "deployments"]:
            answer = create_deployment(written, repository, body, api)
        case ["POST", "deployments", number, "statuses"] if number.isdigit():
            answer = create_deployment_status(written, repository, int(number), body, api)
    return answer


def get_written(
    github: "FakeGitHub", pulls: FakePullRequests | None, path: list[str], query: dict[str, str]
) -> GitHubResponse | None:
    """Answer `GET` of what was written, None for what was not."""
    written, api = github.written, github.url
    found: Document | list[Document] | None = None
    match path:
        case ["user"]:
            found = user_document(ACCOUNT, api)
        case ["users", login]:
            found = user_document(unquote(login), api)
        case [*_] if pulls is None:
            pass
        case ["issues", number] if pulls:
            found = find_issue(pulls, number, api)
        case ["issues", number, "comments"] if pulls:
            since = query.get("since", "")
            comments = written.list_comments(pulls.repository, int(number))
            found = choose_page([one for one in comments if one["updated_at"] >= since], query)
        case ["issues", "comments", number]:
            found = find_document(written.comments, number)
        case ["commits", sha, "status"]:
            found = {"sha": sha, "statuses": written.list_statuses(sha)}
        case ["commits", sha, "check-runs"] if pulls:
            found = list_check_runs(written, pulls.repository, sha, query)
        case ["check-runs", number, *more] if pulls and number.isdigit():
            run = find_check_run(written, pulls.repository, int(number))
            found = run and (run["annotations"] if more == ["annotations"] else show(run))
        case ["deployments"] if pulls:
            found = choose_page(written.list_deployments(pulls.repository, query), query)
        case ["deployments", number]:
            found = find_document(written.deployments, number)
        case ["deployments", number, "statuses"]:
            found = choose_page(written.list_deployment_statuses(int(number)), query)
    return None if found is None else json_response(found)


def find_document(documents: list[Document], number: str) -> Document | None:
    return next((one for one in documents if str(one["id"]) == number), None)


def choose_page(found: list[Document], query: dict[str, str]) -> list[Document]:
    size, page = min(100, int(query.get("per_page", 30))), int(query.get("page", 1))
    return found[(page - 1) * size : page * size]
