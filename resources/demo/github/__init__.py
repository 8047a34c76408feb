"""A fake of GitHub's REST API: pull requests with GitHub's shapes, limits and failures, offline.

    pulls = PullRequests("demo/encyclopedia-visits", path=home / "pulls.json")   # no path: in memory
    number = pulls.open(title="Use the weekday", head="weekday", head_sha=sha, base_sha=sha, author="ada")
    pulls.merge(number, commit=merge_sha)                # GitHub's view of a merge that git has done
    pulls.close(number); pulls.touch(number, title="…")  # every change moves `updated_at`
    pulls.get(number), pulls.list("open" | "closed" | "all")

    github = serve(pulls, port=0, actions={"merge": merge_next})    # several collections may be given
    github.url                                           # what GITHUB_API_URL must be
    github.serve_forever()  or  with github: …           # `with` answers from a thread until the block ends

`actions` are the owner's own control calls: `POST /_control/<name>` with a JSON body calls `action(**body)`
and answers with what it returns as JSON; a `ValueError` is a 409 with its message. Of the fake's own:
`GET /_control/log` (the requests since the last reset), `POST /_control/` `reset`, `fault`, `write-fault`,
`delete-comment`, `open`, `merge`, `touch`. `github.written` is what it was told, `/pulls/N` shows it.
An action of the owner goes before ours of the same name. `FakeApp` is a GitHub App that is installed: its
JSON web tokens are checked, and its installation tokens expire and have its permissions.
"""

from resources.demo.github.app import FakeApp
from resources.demo.github.faults import GitHubFault
from resources.demo.github.pulls import FakePullRequests, GitHubPullRequest
from resources.demo.github.server import FakeGitHub, create_server

__all__ = ["FakeApp", "FakeGitHub", "FakePullRequests", "GitHubFault", "GitHubPullRequest", "create_server"]
