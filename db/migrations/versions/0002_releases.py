"""What becomes of a merge: releases, their stages, deployments, sampled predictions."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE appliance (
            id integer CONSTRAINT pk_appliance PRIMARY KEY CHECK (id = 1),
            mode text NOT NULL,
            since timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE releases (
            id serial CONSTRAINT pk_releases PRIMARY KEY,
            model text NOT NULL,
            repository text NOT NULL,
            commit text NOT NULL,
            trigger text NOT NULL,
            pull_request integer,
            title text,
            author text,
            merged_at timestamptz,
            status text NOT NULL,
            reason text,
            token text,
            attempts integer NOT NULL DEFAULT 0,
            due_at timestamptz NOT NULL DEFAULT now(),
            created_at timestamptz NOT NULL DEFAULT now(),
            started_at timestamptz,
            finished_at timestamptz,
            entry_point text,
            kind text,
            info jsonb,
            metrics jsonb,
            environment text,
            lock text,
            python text,
            data jsonb,
            artifact text
        )
    """)
    op.execute("CREATE INDEX ix_releases_model ON releases (model)")
    op.execute("CREATE INDEX ix_releases_status ON releases (status)")
    op.execute("CREATE UNIQUE INDEX uq_releases_merge ON releases (model, commit) WHERE trigger = 'merge'")
    op.execute("""
        CREATE TABLE stages (
            id serial CONSTRAINT pk_stages PRIMARY KEY,
            release_id integer NOT NULL
                CONSTRAINT fk_stages_release_id REFERENCES releases (id) ON DELETE CASCADE,
            name text NOT NULL,
            outcome text NOT NULL,
            started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            ended_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_stages_release_id ON stages (release_id)")
    op.execute("""
        CREATE TABLE deployments (
            id serial CONSTRAINT pk_deployments PRIMARY KEY,
            model text NOT NULL,
            release_id integer NOT NULL CONSTRAINT fk_deployments_release_id REFERENCES releases (id),
            cause text NOT NULL,
            who text NOT NULL,
            why text,
            state text NOT NULL,
            reason text,
            created_at timestamptz NOT NULL DEFAULT now(),
            live_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_deployments_model ON deployments (model)")
    op.execute("CREATE INDEX ix_deployments_release_id ON deployments (release_id)")
    op.execute("CREATE UNIQUE INDEX uq_deployments_gate ON deployments (release_id) WHERE cause = 'gate'")
    op.execute("""
        CREATE TABLE predictions (
            id bigserial CONSTRAINT pk_predictions PRIMARY KEY,
            model text NOT NULL,
            release_id integer NOT NULL,
            at timestamptz NOT NULL DEFAULT now(),
            request jsonb NOT NULL,
            answer jsonb NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_predictions_model_id ON predictions (model, id)")
