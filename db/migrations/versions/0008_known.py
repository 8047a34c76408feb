"""What a release's predictions are shown beside: the known series, or the target's range."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE releases ADD COLUMN known jsonb")
