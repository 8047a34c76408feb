"""The monitor: windows of drift and of quality, what lasts of them, and the drift baseline of a release."""

from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.execute("ALTER TABLE releases ADD COLUMN drift_baseline text, ADD COLUMN drift_source text")
    op.execute("""
        CREATE TABLE drift_windows (
            id serial CONSTRAINT pk_drift_windows PRIMARY KEY,
            model text NOT NULL,
            release_id integer NOT NULL
                CONSTRAINT fk_drift_windows_release_id_releases REFERENCES releases (id),
            made_at timestamptz NOT NULL DEFAULT now(),
            "window" text NOT NULL,
            begins_at timestamptz,
            ends_at timestamptz,
            rows integer NOT NULL,
            calls integer NOT NULL,
            status text NOT NULL,
            reason text NOT NULL,
            findings jsonb NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_drift_windows_model_id ON drift_windows (model, id)")
    op.execute("""
        CREATE TABLE quality_windows (
            id serial CONSTRAINT pk_quality_windows PRIMARY KEY,
            model text NOT NULL,
            release_id integer NOT NULL
                CONSTRAINT fk_quality_windows_release_id_releases REFERENCES releases (id),
            made_at timestamptz NOT NULL DEFAULT now(),
            "window" text NOT NULL,
            begins_at timestamptz NOT NULL,
            ends_at timestamptz NOT NULL,
            recorded integer NOT NULL,
            rows integer NOT NULL,
            kind text NOT NULL,
            metrics jsonb NOT NULL,
            status text NOT NULL,
            reason text NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_quality_windows_model_id ON quality_windows (model, id)")
    op.execute("""
        CREATE TABLE monitor_states (
            model text CONSTRAINT pk_monitor_states PRIMARY KEY,
            release_id integer NOT NULL
                CONSTRAINT fk_monitor_states_release_id_releases REFERENCES releases (id),
            checked_at timestamptz,
            began_at timestamptz,
            read_until timestamptz,
            baseline_until timestamptz,
            problem text,
            suspicion jsonb NOT NULL,
            drift_since timestamptz,
            drift_reason text,
            decay_since timestamptz,
            decay_reason text
        )
    """)
