"""Quarantines of one release alone: of a commit that was good before."""

from alembic import op

revision = "0028"
down_revision = "0026"


def upgrade() -> None:
    op.execute("ALTER TABLE quarantines ADD COLUMN covers_commit boolean NOT NULL DEFAULT true")
