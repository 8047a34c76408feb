"""Frequent queries use the index that was made for them; `benchmarks/queries.py` has their times."""

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session, sessionmaker

from benchmarks import queries, query_plans
from cli.up.postgres import Postgres

SIZES = {"pulls": 20_000, "made": 10_000, "sampled": 20_000}
# what reads the whole table, or most of it, without the index
INDEXES = {
    "sync: what is new": "ix_pull_requests_accepted",
    "sync: what is open": "ix_pull_requests_open",
    "outbox: what is refused": "ix_outbox_error",
    "outbox: prune": "ix_outbox_changed_at",
    "releases of commits": "ix_releases_repository_commit",
    "page: overview": "ix_releases_unsuccessful",
    "page: when it was live": "ix_deployments_was_live",
}


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[sessionmaker[Session]]:
    made = queries.filled(postgres, "filled", **SIZES)
    yield made
    made.kw["bind"].dispose()


@pytest.mark.parametrize("name", INDEXES)
def test_a_query_uses_the_index_that_was_made_for_it(name: str, filled: sessionmaker[Session]) -> None:
    assert INDEXES[name] in query_plans.find_indexes(queries.queries(filled)[name], filled)
