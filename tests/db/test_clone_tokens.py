"""Tokens for clones: vcs stores them, watch alone reads them, and git gets them where no other is set."""

from collections.abc import Callable

import psycopg2
import pytest
from psycopg2 import errors
from sqlalchemy.orm import Session, sessionmaker

from common.errors import LoginRefusedError, UnavailableError
from db import clone_tokens
from ml.git_token import use_git_token
from ml.settings import MlSettings

REPOSITORY = "acme/widgets"
SECRET = "ghs_of-the-test"
SessionsOf = Callable[[str], sessionmaker[Session]]


def store(sessions_of: SessionsOf, token: str = SECRET, seconds: float = 3600) -> None:
    with sessions_of("vcs").begin() as session:
        clone_tokens.store_token(session, REPOSITORY, token, seconds)


def find(sessions_of: SessionsOf, repository: str = REPOSITORY) -> str:
    with sessions_of("watch").begin() as session:
        return clone_tokens.find_token(session, repository)


def test_watch_reads_the_newest_token_until_it_expires(sessions_of: SessionsOf) -> None:
    assert find(sessions_of) == ""
    store(sessions_of, "first")
    store(sessions_of)
    assert (find(sessions_of), find(sessions_of, "acme/other")) == (SECRET, "")

    store(sessions_of, seconds=30)
    assert find(sessions_of) == ""


@pytest.mark.parametrize("service", ["vcs", "serve"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT token FROM vcs.clone_tokens",
        "SELECT * FROM vcs.clone_tokens",
        "DELETE FROM vcs.clone_tokens RETURNING token",
        "UPDATE vcs.clone_tokens SET repository = token",
        "COPY vcs.clone_tokens TO STDOUT",
    ],
)
def test_no_other_role_reads_one(
    service: str, statement: str, sessions_of: SessionsOf, url_of: Callable[[str], str]
) -> None:
    store(sessions_of)
    connection = psycopg2.connect(url_of(service))
    with pytest.raises(errors.InsufficientPrivilege):
        connection.cursor().execute(statement)
    connection.close()


def test_tokens_of_repositories_that_are_not_followed_go(sessions_of: SessionsOf) -> None:
    store(sessions_of)
    with sessions_of("vcs").begin() as session:
        clone_tokens.delete_tokens(session, kept=[REPOSITORY])
    assert find(sessions_of) == SECRET
    with sessions_of("vcs").begin() as session:
        clone_tokens.delete_tokens(session)
    assert find(sessions_of) == ""


def test_git_gets_it_where_no_token_is_set(sessions_of: SessionsOf, url_of: Callable[[str], str]) -> None:
    store(sessions_of)
    settings = MlSettings(DATABASE_URL=url_of("watch"), GITHUB_TOKEN="")
    operators = settings.model_copy(update={"github_token": "the operator's"})
    watch = sessions_of("watch")

    with use_git_token(settings, watch, REPOSITORY) as found:
        assert found.github_token == SECRET
        assert SECRET not in f"{found!r} {found}"
    with use_git_token(operators, watch, REPOSITORY) as found:
        assert found.github_token == "the operator's"
    with use_git_token(settings, watch, "acme/other") as found:
        assert found.github_token == ""


@pytest.mark.parametrize(
    ("error", "left"), [(LoginRefusedError("401"), ""), (UnavailableError("no route"), SECRET)]
)
def test_a_token_that_the_git_server_refuses_goes(
    error: UnavailableError, left: str, sessions_of: SessionsOf, url_of: Callable[[str], str]
) -> None:
    store(sessions_of)
    settings = MlSettings(DATABASE_URL=url_of("watch"), GITHUB_TOKEN="")
    with pytest.raises(UnavailableError), use_git_token(settings, sessions_of("watch"), REPOSITORY):
        raise error
    assert find(sessions_of) == left


def test_a_newer_token_than_the_refused_one_stays(
    sessions_of: SessionsOf, url_of: Callable[[str], str]
) -> None:
    store(sessions_of, "revoked")
    settings = MlSettings(DATABASE_URL=url_of("watch"), GITHUB_TOKEN="")
    with pytest.raises(LoginRefusedError), use_git_token(settings, sessions_of("watch"), REPOSITORY):
        store(sessions_of)
        raise LoginRefusedError
    assert find(sessions_of) == SECRET
