"""The folder of its repository that a release was built in, and an id of the files that it is made of."""

from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    for column in ("path text", "paths text[]", "files text"):
        op.execute(f"ALTER TABLE releases ADD COLUMN {column}")
    op.execute("UPDATE releases SET path = '', files = tree WHERE entry_point IS NOT NULL")
    op.execute("""
        CREATE INDEX ix_releases_checked_files ON releases (model, files) WHERE status = 'checked'
    """)
    op.execute("DROP INDEX ix_releases_untold")
    op.execute("""
        CREATE INDEX ix_releases_untold ON releases (id)
            WHERE told IS DISTINCT FROM status AND status NOT IN ('queued', 'building')
                AND status <> 'untouched' AND trigger <> 'check'
    """)
