"""Requests by hour, stored for longer than those by minute, and indexes of the monitor's page."""

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE hourly_traffic (
            model text NOT NULL,
            hour timestamptz NOT NULL,
            failed integer NOT NULL,
            counts integer[] NOT NULL,
            CONSTRAINT pk_hourly_traffic PRIMARY KEY (model, hour)
        )
    """)
    op.execute("CREATE INDEX ix_hourly_traffic_hour ON hourly_traffic (hour)")
    op.execute("""
        INSERT INTO hourly_traffic (model, hour, failed, counts)
        SELECT model, hour, failed, (
            SELECT array_agg(requests ORDER BY latency) FROM (
                SELECT latency, sum(count)::integer AS requests
                FROM traffic AS of_hour, unnest(of_hour.counts) WITH ORDINALITY AS each (count, latency)
                WHERE of_hour.model = found.model
                AND of_hour.minute >= found.hour AND of_hour.minute < found.hour + interval '1 hour'
                GROUP BY latency
            ) AS summed
        )
        FROM (
            SELECT model, date_trunc('hour', minute, 'UTC') AS hour, sum(failed)::integer AS failed
            FROM traffic GROUP BY model, date_trunc('hour', minute, 'UTC')
        ) AS found
    """)
    op.execute('CREATE INDEX ix_drift_windows_made_at ON drift_windows (model, "window", made_at)')
    op.execute('CREATE INDEX ix_quality_windows_made_at ON quality_windows (model, "window", made_at)')
