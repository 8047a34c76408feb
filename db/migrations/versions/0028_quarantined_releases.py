"""Quarantines of one release alone, of a commit that was good before; attempts of retrainings."""

from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.execute("ALTER TABLE quarantines ADD COLUMN covers_commit boolean NOT NULL DEFAULT true")
    op.execute("ALTER TABLE retrainings ADD COLUMN attempts integer NOT NULL DEFAULT 0")
