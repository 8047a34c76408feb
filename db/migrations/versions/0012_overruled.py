"""A decision that a newer one ended is overruled; a rollback becomes true when its target is live."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE deployments
            ADD COLUMN leaves integer CONSTRAINT fk_deployments_leaves REFERENCES deployments (id),
            ADD COLUMN holds_until integer
    """)
    op.execute("""
        UPDATE deployments AS old SET state = 'overruled', reason = 'a newer decision was made'
        WHERE state = 'wanted'
            AND EXISTS (SELECT 1 FROM deployments new WHERE new.model = old.model AND new.id > old.id)
    """)
