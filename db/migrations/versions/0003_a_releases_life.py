"""What a release's life needs: cancelling, holding, the gate's verdict, warm starts, pruning, quarantine."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE releases
            ADD COLUMN ref text,
            ADD COLUMN requested_by text,
            ADD COLUMN warm_start integer CONSTRAINT fk_releases_warm_start REFERENCES releases (id),
            ADD COLUMN hold text,
            ADD COLUMN verdict jsonb,
            ADD COLUMN pruned_at timestamptz
    """)
    op.execute("""
        CREATE TABLE quarantines (
            id serial CONSTRAINT pk_quarantines PRIMARY KEY,
            model text NOT NULL,
            commit text NOT NULL,
            release_id integer NOT NULL CONSTRAINT fk_quarantines_release_id REFERENCES releases (id),
            why text,
            since timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_quarantines_model ON quarantines (model)")
    op.execute("CREATE UNIQUE INDEX uq_releases_tag ON releases (model, ref) WHERE trigger = 'tag'")
