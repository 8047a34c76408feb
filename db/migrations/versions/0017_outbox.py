"""What GitHub should show: a row a subject, which vcs delivers; for the overview, why it cannot."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vcs.outbox (
            id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT pk_outbox PRIMARY KEY,
            key text NOT NULL CONSTRAINT uq_outbox_key UNIQUE,
            kind text NOT NULL,
            repository text NOT NULL,
            facts jsonb NOT NULL,
            position bigint NOT NULL DEFAULT 0,
            version integer NOT NULL DEFAULT 1,
            delivered integer NOT NULL DEFAULT 0,
            state text NOT NULL DEFAULT 'pending',
            github_id bigint,
            attempts integer NOT NULL DEFAULT 0,
            due_at timestamptz DEFAULT now(),
            error text,
            created_at timestamptz NOT NULL DEFAULT now(),
            changed_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_outbox_due_at ON vcs.outbox (due_at) WHERE due_at IS NOT NULL")
    op.execute("ALTER TABLE appliance ADD COLUMN outbox text")
