"""Retrainings: what falls due by a schedule or new data, each once; pauses; [retrain] of each release."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.execute("ALTER TABLE releases ADD COLUMN retrain jsonb")
    op.execute("""
        CREATE TABLE retrainings (
            id serial CONSTRAINT pk_retrainings PRIMARY KEY,
            model text NOT NULL,
            trigger text NOT NULL,
            occasion text NOT NULL,
            scheduled_at timestamptz,
            since timestamptz,
            reason text NOT NULL,
            state text NOT NULL,
            outcome text,
            commit text NOT NULL,
            live_release integer NOT NULL
                CONSTRAINT fk_retrainings_live_release_releases REFERENCES releases (id),
            release_id integer CONSTRAINT fk_retrainings_release_id_releases REFERENCES releases (id),
            requested_by text,
            created_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz
        )
    """)
    op.execute("CREATE UNIQUE INDEX uq_retrainings_occasion ON retrainings (model, trigger, occasion)")
    op.execute("CREATE INDEX ix_retrainings_model_id ON retrainings (model, id)")
    op.execute("CREATE INDEX ix_retrainings_release_id ON retrainings (release_id)")
    op.execute("""
        CREATE INDEX ix_retrainings_open ON retrainings (model, id) WHERE state IN ('suggested', 'waiting')
    """)
    op.execute("""
        CREATE TABLE retraining_plans (
            model text CONSTRAINT pk_retraining_plans PRIMARY KEY,
            schedule text,
            timezone text,
            since timestamptz,
            next_at timestamptz,
            waits text,
            paused_at timestamptz,
            paused_by text,
            paused_why text,
            data_seen text,
            data_seen_at timestamptz,
            data_due text,
            data_reason text,
            data_checked_at timestamptz,
            data_problem text
        )
    """)
