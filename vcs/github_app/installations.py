"""The installation tokens of a GitHub App: one an installation, used for an hour, renewed before that.

https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from vcs.github_app.access import AppError, BadAppError, RepositoryToken
from vcs.github_app.app_key import AppKey
from vcs.github_client import BadTokenError, GitHubClient, GitHubDownError, GitHubRefusalError, parse_answer

RENEW_SECONDS = 600.0  # before a token expires, another one is used
UNKNOWN_APP = "Integration not found"  # GitHub's message where no App has this id
CLOCK_CLAIMS = ("'iat'", "'exp'")  # in GitHub's message where our clock is wrong
BAD_APP = (
    "GitHub does not accept the GitHub App ({}): GITHUB_APP_ID and GITHUB_APP_KEY_FILE have to be of the "
    "same App; set them, and start Slipway again."
)


@dataclass(frozen=True)
class InstallationToken:
    token: str
    expires_at: float  # by `time.monotonic`

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() < self.expires_at - RENEW_SECONDS


class AppAccess:
    """The access of a GitHub App; several threads may use it."""

    is_on = True

    def __init__(self, app_id: int, key_file: Path, url: str) -> None:
        self.app_id: int | None = app_id
        self._key, self._client = AppKey(app_id, key_file), GitHubClient(url)
        self._lock = threading.RLock()
        self._clock_offset = 0.0  # seconds that GitHub's clock is before ours
        self._installations: dict[str, int] = {}  # by repository
        self._tokens: dict[int, InstallationToken] = {}  # by installation
        self._secrets: list[str] = []  # the newest ones that were made
        self._bot: str | None = None

    def get_token(self, repository: str) -> str:
        """Return the token of the repository's installation, a new one where the last is about to expire."""
        with self._lock:
            installation = self._find_installation(repository)
            found = self._tokens.get(installation)
            if found is None or not found.is_fresh:
                found = self._tokens[installation] = self._create_token(repository, installation, {})
            return found.token

    def drop_tokens(self) -> None:
        with self._lock:
            self._tokens.clear()
            self._installations.clear()

    def find_bot(self) -> str | None:
        with self._lock:
            if self._bot is None:
                self._bot = f"{self._call('GET', '/app')['slug']}[bot]"
            return self._bot

    def create_clone_token(self, repository: str) -> RepositoryToken:
        narrowed = {"repositories": [repository.split("/")[1]], "permissions": {"contents": "read"}}
        with self._lock:
            made = self._create_token(repository, self._find_installation(repository), narrowed)
        return RepositoryToken(made.token, made.expires_at - time.monotonic())

    def list_secrets(self) -> list[str]:
        return list(self._secrets)

    def _find_installation(self, repository: str) -> int:
        if repository not in self._installations:
            found = self._ask(repository, lambda: self._call("GET", f"/repos/{repository}/installation"))
            try:
                self._installations[repository] = int(found["id"])
            except (KeyError, TypeError, ValueError) as error:
                raise GitHubDownError("its answer is not understood") from error
        return self._installations[repository]

    def _create_token(
        self, repository: str, installation: int, narrowed: dict[str, Any]
    ) -> InstallationToken:
        path = f"/app/installations/{installation}/access_tokens"
        try:
            made = self._ask(repository, lambda: self._call("POST", path, json=narrowed))
        except AppError:  # it may have been installed anew
            self._installations.pop(repository, None)
            raise
        try:
            expires_at = datetime.fromisoformat(made["expires_at"]).timestamp() - self._github_time()
            token = InstallationToken(str(made["token"]), time.monotonic() + expires_at)
        except (KeyError, TypeError, ValueError) as error:
            raise GitHubDownError("its answer is not understood") from error
        self._secrets = [*self._secrets[-20:], token.token]
        return token

    def _ask(self, repository: str, call: Callable[[], Any]) -> Any:
        """Return what GitHub answers; raise `AppError` for what it refuses for this repository."""
        try:
            return call()
        except GitHubRefusalError as error:
            raise AppError(describe_refusal(repository, error)) from error

    def _call(self, method: str, path: str, **more: Any) -> Any:
        """Send a request as the App; a second time where GitHub's clock is another than ours."""
        try:
            return self._send(method, path, **more)
        except BadTokenError as error:
            if not any(claim in str(error) for claim in CLOCK_CLAIMS):
                raise BadAppError(BAD_APP.format(error)) from error
        try:
            return self._send(method, path, **more)
        except BadTokenError as error:
            raise BadAppError(BAD_APP.format(error)) from error

    def _send(self, method: str, path: str, **more: Any) -> Any:
        answer, content = self._client.send(method, path, self._key.sign(self._github_time()), **more)
        self._read_clock(answer)
        try:
            return parse_answer(answer, content)
        except GitHubRefusalError as error:
            if error.message == UNKNOWN_APP:
                raise BadTokenError(UNKNOWN_APP) from error
            raise

    def _read_clock(self, answer: httpx.Response) -> None:
        with suppress(KeyError, ValueError):
            self._clock_offset = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()

    def _github_time(self) -> float:
        return time.time() + self._clock_offset


def describe_refusal(repository: str, error: GitHubRefusalError) -> str:
    """Return what the App lacks for a repository."""
    if error.status == HTTPStatus.NOT_FOUND:
        return f"The GitHub App is not installed for {repository}: install it, and give it this repository."
    if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return (
            f"The GitHub App may not read the contents of {repository}: give it the permission "
            f"Contents: Read-only, and accept it for the installation ({error.message})."
        )
    return f"The GitHub App may not work for {repository}: see its installation ({error.message})."
