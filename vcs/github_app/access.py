"""The access to GitHub that the rest of `vcs` sees, and its errors."""

from dataclasses import dataclass
from typing import Protocol

from vcs.github_client import BadTokenError


class KeyFileError(Exception):
    """A key file that cannot be used; the text says why, and what to do."""


class AppError(Exception):
    """The GitHub App may not do this for one repository; the text is a sentence for a person."""


class BadAppError(BadTokenError):
    """GitHub does not accept the App itself; the text is a sentence for a person."""


@dataclass(frozen=True)
class RepositoryToken:
    """A token that reads the contents of one repository; `seconds_left` from now on."""

    token: str
    seconds_left: float


class GitHubAccess(Protocol):
    """The tokens for repositories. The calls of an App raise `AppError`, and those of `GitHubClient`."""

    app_id: int | None

    @property
    def is_on(self) -> bool:
        """Return whether GitHub may be written to."""
        ...

    def get_token(self, repository: str) -> str:
        """Return a token for a repository; empty where there is none."""
        ...

    def drop_tokens(self) -> None:
        """Get other tokens from now on: GitHub does not accept one."""
        ...

    def find_bot(self) -> str | None:
        """Return the name of the App's account; None where it is the token's."""
        ...

    def create_clone_token(self, repository: str) -> RepositoryToken:
        """Return a new token that may read the repository's contents, and nothing else."""
        ...

    def list_secrets(self) -> list[str]:
        """Return what must never appear in a log or a response."""
        ...


class TokenAccess:
    """The access of GITHUB_TOKEN, which is the same for all repositories."""

    app_id: int | None = None

    def __init__(self, token: str) -> None:
        self._token = token

    @property
    def is_on(self) -> bool:
        return bool(self._token)

    def get_token(self, repository: str) -> str:  # noqa: ARG002 (the same for all)
        return self._token

    def drop_tokens(self) -> None:
        """Keep it: there is no other."""

    def find_bot(self) -> str | None:
        return None

    def create_clone_token(self, repository: str) -> RepositoryToken:
        raise AppError(f"No GitHub App is set, so there is no token to clone {repository} with.")

    def list_secrets(self) -> list[str]:
        return [self._token] if self._token else []
