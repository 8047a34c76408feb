"""Scoring a live release again without training, and which trigger a repository asks for."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE releases ADD COLUMN release_on text")
    op.execute("""
        CREATE TABLE scores (
            id serial CONSTRAINT pk_scores PRIMARY KEY,
            model text NOT NULL,
            release_id integer NOT NULL CONSTRAINT fk_scores_release_id REFERENCES releases (id),
            requested_by text,
            status text NOT NULL,
            reason text,
            metrics jsonb,
            data jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_scores_model ON scores (model)")
