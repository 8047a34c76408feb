"""The token that git is given for a repository: the operator's, else the GitHub App's."""

from sqlalchemy.orm import Session, sessionmaker

from db import clone_tokens
from ml.settings import MlSettings


def with_git_token(settings: MlSettings, sessions: sessionmaker[Session], repository: str) -> MlSettings:
    """Return the settings with a token for git, where there is one, just before git contacts a server.

    Only the role of `watch` may read the App's tokens.
    """
    if settings.github_token:
        return settings
    with sessions.begin() as session:
        token = clone_tokens.find_token(session, repository)
    return settings.model_copy(update={"github_token": token}) if token else settings
