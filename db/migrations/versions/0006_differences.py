"""How a release's predictions differ from what was live."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE releases ADD COLUMN differences jsonb")
