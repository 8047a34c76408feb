"""Why GitHub is not heard; since when MLflow is not was never asked."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE appliance ADD COLUMN github text, DROP COLUMN tracking_since")
