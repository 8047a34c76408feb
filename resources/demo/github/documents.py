"""Pull requests as GitHub's JSON, field for field; large because GitHub's are (about 20 kB each).

Fields that GitHub's people add (labels, milestones, assignees, reviewers, teams, drafts, auto-merge) are
made up by the number, so that each long list has all of them.
"""

import json
from dataclasses import asdict
from functools import lru_cache
from typing import Any
from zlib import crc32

from resources.demo.github.pulls import GitHubPullRequest

WEB_URL = "https://github.com"
# Appears twice in each for the same long object, which is inserted as text: ten times faster.
REPOSITORY_PLACEHOLDER = b'"@repository@"'

REPOSITORY_LINKS = """
    forks keys collaborators teams hooks issue_events events assignees branches tags git_blobs git_tags
    git_refs trees statuses languages stargazers contributors subscribers subscription commits archive
    git_commits comments issue_comment contents compare merges downloads issues pulls milestones
    notifications labels releases deployments
"""
SWITCHES = """
    allow_auto_merge allow_forking allow_merge_commit allow_rebase_merge allow_squash_merge
    delete_branch_on_merge has_pages is_template web_commit_signoff_required
"""
COUNTS = """
    forks forks_count network_count open_issues open_issues_count stargazers_count subscribers_count watchers
    watchers_count
"""
LABELS = ("bug", "données 🚀")
USER_LINKS = "followers following gists starred subscriptions organizations repos events received_events"


def encode_pulls(repository: str, pulls: list[GitHubPullRequest], api: str) -> bytes:
    """Encode one page of the list, as `GET /repos/{owner}/{name}/pulls` returns it."""
    found = [pull_document(repository, pull, api) for pull in pulls]
    try:
        page = json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate: GitHub escapes it
        page = json.dumps(found).encode()
    return page.replace(REPOSITORY_PLACEHOLDER, repository_text(repository, api))


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
        "html_url": f"{WEB_URL}/{repository}",
        "description": "A repository that the stand-in for GitHub made up",
        "fork": False,
        "url": url,
        **{f"{link}_url": f"{url}/{link.replace('_', '/')}{{/{link}}}" for link in REPOSITORY_LINKS.split()},
        **{f"{kind}_url": f"{WEB_URL}/{repository}.git" for kind in ("git", "ssh", "clone", "svn")},
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
        "homepage": None,
        "mirror_url": None,
        "template_repository": None,
        "temp_clone_token": None,
        "custom_properties": {},
        "blobs_url": f"{url}/git/blobs{{/sha}}",
        "license": license_document(api),
        "permissions": {right: right == "pull" for right in ("admin", "push", "pull")},
        **dict.fromkeys(SWITCHES.split(), False),
        **dict.fromkeys(COUNTS.split(), 7),
    }


def license_document(api: str) -> dict[str, Any]:
    return {
        "key": "mit",
        "name": "MIT License",
        "spdx_id": "MIT",
        "url": f"{api}/licenses/mit",
        "node_id": "LI_mit",
        "html_url": "https://choosealicense.com/licenses/mit/",
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
        "html_url": f"{WEB_URL}/{login}",
        **{f"{link}_url": f"{url}/{link}{{/other}}" for link in USER_LINKS.split()},
        "type": "User",
        "user_view_type": "public",
        "site_admin": False,
    }


def pull_document(repository: str, pull: GitHubPullRequest, api: str) -> dict[str, Any]:
    owner = repository.split("/", maxsplit=1)[0]
    url = f"{api}/repos/{repository}/pulls/{pull.number}"
    issue = f"{api}/repos/{repository}/issues/{pull.number}"
    page = f"{WEB_URL}/{repository}/pull/{pull.number}"
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
    for name in ("author", "head_sha", "base_sha", "head_is_gone"):
        del fields[name]
    head_owner = None if pull.head_is_gone else owner
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
        "user": user_document(pull.author, api) if pull.author else None,
        **extra_fields(repository, pull, api),
        "head": branch_document(head_owner, pull.head, pull.head_sha, api),
        "base": branch_document(owner, pull.base, pull.base_sha, api),
        "_links": {name: {"href": link} for name, link in links.items()},
        "author_association": "CONTRIBUTOR" if pull.author else "NONE",
        **wrong,
    }


def extra_fields(repository: str, pull: GitHubPullRequest, api: str) -> dict[str, Any]:
    """Return the fields that people of the repository have added to the pull request `number`."""
    owner, number = repository.split("/", maxsplit=1)[0], pull.number
    url, maintainer = f"{api}/repos/{repository}", user_document(owner, api)
    is_assigned, is_open = number % 4 == 0, pull.state == "open"
    lock = ("off-topic", "too heated", "resolved", "spam", None)[number % 5]
    return {
        "labels": [label_document(url, name) for name in LABELS[: number % 3]],
        "milestone": milestone_document(repository, maintainer, api) if number % 4 == 1 else None,
        "assignee": maintainer if is_assigned else None,
        "assignees": [maintainer, user_document("grace", api)] if is_assigned else [],
        "requested_reviewers": [maintainer] if number % 5 == 0 else [],
        "requested_teams": [team_document(owner, api)] if number % 6 == 0 else [],
        "draft": is_open and number % 20 == 0,
        "auto_merge": auto_merge_document(pull, maintainer) if is_open and number % 20 == 10 else None,
        "locked": number % 9 == 0,
        "active_lock_reason": lock if number % 9 == 0 else None,
    }


def label_document(repository_url: str, name: str) -> dict[str, Any]:
    return {
        "id": crc32(name.encode()),
        "node_id": f"LA_{name}",
        "url": f"{repository_url}/labels/{name}",
        "name": name,
        "description": f'It\'s "{name}", {{so}} \\ to say' if name != "bug" else None,
        "color": "d73a4a",
        "default": name == "bug",
    }


def milestone_document(repository: str, creator: dict[str, Any], api: str) -> dict[str, Any]:
    url = f"{api}/repos/{repository}/milestones/1"
    return {
        "url": url,
        "html_url": f"{WEB_URL}/{repository}/milestone/1",
        "labels_url": f"{url}/labels",
        "id": 1,
        "node_id": "MI_1",
        "number": 1,
        "state": "open",
        "title": "v1.0",
        "description": "The first one that people may rely on",
        "creator": creator,
        "open_issues": 4,
        "closed_issues": 8,
        "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-02-01T00:00:00Z",
        "closed_at": None,
        "due_on": "2030-01-01T08:00:00Z",
    }


def team_document(owner: str, api: str) -> dict[str, Any]:
    url = f"{api}/organizations/1/team/1"
    return {
        "id": 1,
        "node_id": "T_1",
        "url": url,
        "html_url": f"{WEB_URL}/orgs/{owner}/teams/modellers",
        "name": "Modellers",
        "slug": "modellers",
        "description": None,
        "privacy": "closed",
        "permission": "push",
        "notification_setting": "notifications_enabled",
        "members_url": f"{url}/members{{/member}}",
        "repositories_url": f"{url}/repos",
        "parent": None,
    }


def auto_merge_document(pull: GitHubPullRequest, who: dict[str, Any]) -> dict[str, Any]:
    title = f"{pull.title} (#{pull.number})"
    return {"enabled_by": who, "merge_method": "squash", "commit_title": title, "commit_message": ""}


def branch_document(owner: str | None, branch: str, commit: str, api: str) -> dict[str, Any]:
    """Return one end of a pull request; without an `owner` the fork is gone."""
    return {
        "label": f"{owner or 'unknown'}:{branch}",
        "ref": branch,
        "sha": commit,
        "user": user_document(owner, api) if owner else None,
        "repo": "@repository@" if owner else None,
    }
