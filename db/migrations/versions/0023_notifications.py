"""What people are told: a row a subject, a row for each receiver of a message; for the overview, why not."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vcs.notifications (
            subject text NOT NULL CONSTRAINT pk_notifications PRIMARY KEY,
            event text NOT NULL,
            facts jsonb NOT NULL,
            message uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT uq_notifications_message UNIQUE,
            occurred_at timestamptz NOT NULL DEFAULT now(),
            due_at timestamptz DEFAULT now(),
            begun_at timestamptz,
            ended_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_notifications_due_at ON vcs.notifications (due_at) WHERE due_at IS NOT NULL")
    op.execute("""
        CREATE TABLE vcs.notification_deliveries (
            message uuid NOT NULL,
            receiver text NOT NULL,
            state text NOT NULL DEFAULT 'pending',
            attempts integer NOT NULL DEFAULT 0,
            due_at timestamptz DEFAULT now(),
            error text,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_notification_deliveries PRIMARY KEY (message, receiver)
        )
    """)
    op.execute("""
        CREATE INDEX ix_notification_deliveries_due_at ON vcs.notification_deliveries (due_at)
            WHERE due_at IS NOT NULL
    """)
    op.execute("ALTER TABLE appliance ADD COLUMN notifications text")
    op.execute("ALTER TABLE appliance ADD COLUMN has_notifications boolean NOT NULL DEFAULT false")
