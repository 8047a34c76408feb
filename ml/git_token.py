"""The token that git is given for a repository: the operator's, else the GitHub App's."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session, sessionmaker

from common.errors import LoginRefusedError
from db import clone_tokens
from ml.settings import MlSettings


@contextmanager
def use_git_token(
    settings: MlSettings, sessions: sessionmaker[Session], repository: str
) -> Iterator[MlSettings]:
    """Give the settings with a token for git, where there is one, just before git contacts a server.

    Only the role of `watch` may read the App's tokens. One that the server does not accept is deleted, so
    that `vcs` asks GitHub for another one at once.
    """
    if settings.github_token:
        yield settings
        return
    with sessions.begin() as session:
        token = clone_tokens.find_token(session, repository)
    try:
        yield settings.model_copy(update={"github_token": token}) if token else settings
    except LoginRefusedError:
        with sessions.begin() as session:
            clone_tokens.reject_token(session, repository, token)
        raise
