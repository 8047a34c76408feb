"""The outbox's requests to GitHub, one at a time and at GitHub's pace.

https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from vcs.github_app import GitHubAccess
from vcs.github_client import BadTokenError, GitHubClient, GitHubDownError, parse_answer
from vcs.probe import parse_quota

WRITE_INTERVAL_SECONDS = 1.0  # from one write to the next: GitHub's own advice, and at most 60 a minute
QUOTA_RESERVE = 0.05  # of the hourly quota: the rest is for syncs


class GitHubApi:
    """The requests of one thread. `begin` gives a repository and a deadline to those that follow."""

    def __init__(self, url: str, access: GitHubAccess, stopping: threading.Event) -> None:
        self.access, self.stopping = access, stopping
        self._client, self._repository = GitHubClient(url), ""
        self._deadline = time.monotonic()
        self._next_write = time.monotonic() + WRITE_INTERVAL_SECONDS  # a service may have ended just now
        self.seconds_to_pause = 0.0  # because of the last response: little is left of the quota

    def begin(self, repository: str, seconds: float) -> None:
        """Give what is written next, to this repository, so many seconds in all."""
        self._repository, self._deadline = repository, time.monotonic() + seconds

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **query: str | int) -> Any:
        return self._send("GET", path, params=query)

    def find_account(self) -> int:
        """Return the id of the account that writes: the token's, or the GitHub App's."""
        bot = self.access.find_bot()
        return int(self.get(f"/users/{quote(bot, safe='')}" if bot else "/user")["id"])

    def write(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Send `POST` or `PATCH`, at least a second after the last one."""
        self.stopping.wait(max(0.0, self._next_write - time.monotonic()))
        if self.stopping.is_set():
            raise GitHubDownError("Slipway is stopping")
        self._next_write = time.monotonic() + WRITE_INTERVAL_SECONDS
        return self._send(method, path, json=body)

    def _send(self, method: str, path: str, **more: Any) -> Any:
        token = self.access.get_token(self._repository)
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise GitHubDownError("its answers take too long")
        answer, content = self._client.send(method, path, token, left, **more)
        self._check_quota(answer)
        try:
            return parse_answer(answer, content)
        except BadTokenError:
            self.access.drop_tokens()
            raise

    def _check_quota(self, answer: httpx.Response) -> None:
        quota = parse_quota(answer.headers)
        is_low = quota is not None and quota.remaining < quota.limit * QUOTA_RESERVE
        self.seconds_to_pause = max(0.0, quota.seconds_left) if quota is not None and is_low else 0.0
