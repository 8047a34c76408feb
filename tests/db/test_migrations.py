"""The migrations and the tables of `db/models.py` say the same."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from db import migrate
from db.base import Base
from db.models import Release
from db.session import driver_url


def test_migrations_make_the_tables_that_the_code_expects(database_url: str) -> None:
    """Singer's columns are beside ours in `vcs.pull_requests`, and its indexes are written by hand."""
    assert Release.metadata is Base.metadata
    engine = create_engine(driver_url(database_url))
    with engine.connect() as connection:
        options = {"include_schemas": True, "include_object": ours, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()
    assert differences == []


def ours(item: Any, name: str, kind: str, reflected: bool, _: object) -> bool:
    singers = kind in ("column", "index") and item.table.fullname == "vcs.pull_requests"
    return not (reflected and (singers or name == "alembic_version"))


def test_migrating_again_changes_nothing(database_url: str) -> None:
    migrate.upgrade(database_url)
    migrate.upgrade(database_url)
