"""Which of a model's merges and tags is newest, as a number that is kept with the release."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("ALTER TABLE releases ADD COLUMN position integer")
    op.execute("UPDATE releases SET position = id WHERE trigger IN ('merge', 'tag')")
    op.execute("CREATE INDEX ix_releases_model_position ON releases (model, position)")
