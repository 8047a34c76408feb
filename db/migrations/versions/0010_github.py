"""Why GitHub is not heard."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE appliance ADD COLUMN github text, ADD COLUMN github_since timestamptz")
