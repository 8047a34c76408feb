"""What MLflow was told of releases, and which version its alias `prod` was last seen or left at."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE tracked (
            release_id integer CONSTRAINT pk_tracked PRIMARY KEY
                CONSTRAINT fk_tracked_release_id REFERENCES releases (id),
            key text NOT NULL,
            experiment text,
            run text,
            is_open boolean NOT NULL DEFAULT false,
            logged text,
            version integer,
            tries integer NOT NULL DEFAULT 0,
            due_at timestamptz,
            told text,
            told_at timestamptz
        )
    """)
    op.execute("""
        CREATE TABLE aliases (
            model text CONSTRAINT pk_aliases PRIMARY KEY,
            place text,
            version integer,
            previous integer,
            sent boolean NOT NULL,
            refused text,
            at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("ALTER TABLE appliance ADD COLUMN tracking text, ADD COLUMN tracking_since timestamptz")
