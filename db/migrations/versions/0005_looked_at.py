"""When the look-out looked last."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE appliance ADD COLUMN looked_at timestamptz")
