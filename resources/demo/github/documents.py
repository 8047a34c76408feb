"""Pull requests as GitHub's JSON, field for field; large because GitHub's are (about 15 kB each)."""

import json
from dataclasses import asdict
from functools import lru_cache
from typing import Any
from zlib import crc32

from resources.demo.github.pulls import PullRequest

WEB = "https://github.com"
# Stands twice in each for the same long object, which is put in as text: ten times faster.
REPOSITORY = b'"@repository@"'

REPOSITORY_LINKS = """
    forks keys collaborators teams hooks issue_events events assignees branches tags git_blobs git_tags
    git_refs trees statuses languages stargazers contributors subscribers subscription commits archive
    git_commits comments issue_comment contents compare merges downloads issues pulls milestones
    notifications labels releases deployments
"""
USER_LINKS = "followers following gists starred subscriptions organizations repos events received_events"


def encode(repository: str, pulls: list[PullRequest], api: str) -> bytes:
    """One page of the list, as `GET /repos/{owner}/{name}/pulls` answers it."""
    found = [document(repository, pull, api) for pull in pulls]
    try:
        page = json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair: GitHub escapes it
        page = json.dumps(found).encode()
    return page.replace(REPOSITORY, repository_text(repository, api))


@lru_cache(maxsize=16)
def repository_text(repository: str, api: str) -> bytes:
    return json.dumps(repository_document(repository, api)).encode()


@lru_cache(maxsize=16)
def repository_id(repository: str) -> int:
    return crc32(repository.encode()) % 1_000_000


def repository_document(repository: str, api: str) -> dict[str, Any]:
    owner, name = repository.split("/")
    url = f"{api}/repos/{repository}"
    return {
        "id": repository_id(repository),
        "node_id": f"R_{repository_id(repository)}",
        "name": name,
        "full_name": repository,
        "private": False,
        "owner": user_document(owner, api),
        "html_url": f"{WEB}/{repository}",
        "description": "A repository that the stand-in for GitHub made up",
        "fork": False,
        "url": url,
        **{f"{link}_url": f"{url}/{link.replace('_', '/')}{{/{link}}}" for link in REPOSITORY_LINKS.split()},
        **{f"{kind}_url": f"{WEB}/{repository}.git" for kind in ("git", "ssh", "clone", "svn")},
        **{f"has_{what}": True for what in ("issues", "projects", "downloads", "wiki", "pull_requests")},
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:00Z",
        "pushed_at": "2024-01-01T00:00:00Z",
        "size": 1234,
        "language": "Python",
        "topics": ["ml"],
        "visibility": "public",
        "default_branch": "main",
        "archived": False,
        "disabled": False,
    }


def user_document(login: str, api: str) -> dict[str, Any]:
    url = f"{api}/users/{login}"
    return {
        "login": login,
        "id": crc32(login.encode()),
        "node_id": f"U_{login}",
        "avatar_url": f"https://avatars.githubusercontent.com/{login}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{WEB}/{login}",
        **{f"{link}_url": f"{url}/{link}{{/other}}" for link in USER_LINKS.split()},
        "type": "User",
        "user_view_type": "public",
        "site_admin": False,
    }


def document(repository: str, pull: PullRequest, api: str) -> dict[str, Any]:
    owner = repository.split("/", maxsplit=1)[0]
    url = f"{api}/repos/{repository}/pulls/{pull.number}"
    issue = f"{api}/repos/{repository}/issues/{pull.number}"
    page = f"{WEB}/{repository}/pull/{pull.number}"
    links = {
        "self": url,
        "html": page,
        "issue": issue,
        "comments": f"{issue}/comments",
        "review_comments": f"{url}/comments",
        "review_comment": f"{url}/comments{{/number}}",
        "commits": f"{url}/commits",
        "statuses": f"{api}/repos/{repository}/statuses/{pull.head_sha}",
    }
    fields = asdict(pull)
    wrong = fields.pop("wrong")
    for name in ("author", "head_sha", "base_sha"):
        del fields[name]
    return {
        **fields,
        "url": url,
        "id": repository_id(repository) * 1_000_000 + pull.number,
        "node_id": f"PR_{pull.number}",
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        **{f"{name}_url": link for name, link in links.items() if name not in ("self", "html")},
        "state": pull.state,
        "locked": False,
        "user": user_document(pull.author, api),
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [user_document(owner, api)] if pull.number % 5 == 0 else [],
        "requested_teams": [],
        "labels": [],
        "milestone": None,
        "draft": False,
        "head": side(owner, pull.head, pull.head_sha, api),
        "base": side(owner, pull.base, pull.base_sha, api),
        "_links": {name: {"href": link} for name, link in links.items()},
        "author_association": "CONTRIBUTOR",
        "auto_merge": None,
        "active_lock_reason": None,
        **wrong,
    }


def side(owner: str, branch: str, commit: str, api: str) -> dict[str, Any]:
    return {
        "label": f"{owner}:{branch}",
        "ref": branch,
        "sha": commit,
        "user": user_document(owner, api),
        "repo": "@repository@",
    }
