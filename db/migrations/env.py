"""Alembic's environment: the connection is handed over by `db.migrate`."""

from alembic import context

from db.base import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
