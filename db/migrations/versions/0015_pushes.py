"""A commit has one release of the branch's, whether it was merged or pushed."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("DROP INDEX uq_releases_merge")
    op.execute("""
        CREATE UNIQUE INDEX uq_releases_merge ON releases (model, commit) WHERE trigger IN ('merge', 'push')
    """)
