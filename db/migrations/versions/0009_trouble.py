"""What MLflow was not told of a release, and why."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("ALTER TABLE tracked ADD COLUMN trouble text")
