"""The tokens that clones of the followed repositories use: stored for `watch`, and renewed in time."""

import math
import time
from collections.abc import Sequence

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import clone_tokens
from vcs.github_app.access import AppError, BadAppError, GitHubAccess
from vcs.github_client import BadTokenError, GitHubDownError, GitHubRefusalError, RateLimitedError

RENEW_SECONDS = 1500.0  # before a token expires: the longest fetch, and some outage of GitHub
RETRY_SECONDS = 60.0


class CloneTokens:
    """The stored tokens; without a GitHub App there are none."""

    def __init__(
        self, access: GitHubAccess, sessions: sessionmaker[Session], repositories: Sequence[str]
    ) -> None:
        self.access, self.sessions = access, sessions
        self._due = dict.fromkeys(repositories if access.app_id is not None else (), -math.inf)
        self._replace_at = dict.fromkeys(self._due, -math.inf)  # one that is missing
        self._tried: set[str] = set()
        self._errors: dict[str, str] = {}  # by repository: what the App lacks

    def list_errors(self) -> list[str]:
        """Return why repositories have no token, in sentences for a person."""
        return sorted(set(self._errors.values()))

    def renew_due(self) -> None:
        """Store a new token of each repository whose token expires soon, or was refused by the git server."""
        now, missing = time.monotonic(), self._find_missing()
        for repository in missing:
            self._due[repository] = min(self._due[repository], self._replace_at[repository])
        for repository, due in self._due.items():
            if now >= due:
                if repository in missing and repository in self._tried:
                    self._replace_at[repository] = now + RETRY_SECONDS
                self._tried.add(repository)
                self._due[repository] = now + self._renew(repository)

    @property
    def seconds_until_due(self) -> float:
        """Return the seconds until the next token is renewed."""
        return max(0.0, min(self._due.values(), default=math.inf) - time.monotonic())

    def _find_missing(self) -> list[str]:
        if not self._due:
            return []
        with self.sessions() as session:
            stored = clone_tokens.list_repositories(session)
        return [repository for repository in self._due if repository not in stored]

    def _renew(self, repository: str) -> float:
        """Store a new token; return the seconds until the next one."""
        try:
            made = self.access.create_clone_token(repository)
        except (AppError, BadAppError) as error:
            self._errors[repository] = str(error)
            return RETRY_SECONDS
        except (GitHubDownError, GitHubRefusalError, RateLimitedError, BadTokenError) as error:
            logger.debug("no new token to clone {} with: {}", repository, type(error).__name__)
            return RETRY_SECONDS
        with self.sessions.begin() as session:
            clone_tokens.store_token(session, repository, made.token, made.seconds_left)
        self._errors.pop(repository, None)
        return max(RETRY_SECONDS, made.seconds_left - RENEW_SECONDS)
