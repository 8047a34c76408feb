"""What was not delivered to GitHub, and what is old, is found by an index."""

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_outbox_error ON vcs.outbox (repository) WHERE error IS NOT NULL")
    op.execute("CREATE INDEX ix_outbox_changed_at ON vcs.outbox (changed_at)")
