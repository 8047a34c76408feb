"""Requests of each model by minute, for the charts of the last hour and the last day."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE traffic (
            id bigserial CONSTRAINT pk_traffic PRIMARY KEY,
            model text NOT NULL,
            minute timestamptz NOT NULL,
            failed integer NOT NULL,
            counts integer[] NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_traffic_model_minute ON traffic (model, minute)")
    op.execute("CREATE INDEX ix_traffic_minute ON traffic (minute)")
