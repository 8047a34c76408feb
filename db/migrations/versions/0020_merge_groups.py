"""Merge groups: when GitHub last told of a merge queue; the checks of its groups are found by an index."""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vcs.merge_queues (
            repository text NOT NULL CONSTRAINT pk_merge_queues PRIMARY KEY,
            told_at timestamptz NOT NULL
        )
    """)
    op.execute("""
        CREATE INDEX ix_releases_merge_groups ON releases (model, id)
            WHERE trigger = 'check' AND ref IS NOT NULL
    """)
