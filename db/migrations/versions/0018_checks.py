"""Checks: releases of open pull requests; approvals of those that come from other repositories."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE vcs.pull_requests
            ADD COLUMN head_repository_id bigint,
            ADD COLUMN head_owner_id bigint,
            ADD COLUMN base_repository_id bigint
    """)
    op.execute("""
        ALTER TABLE releases
            ADD COLUMN base text,
            ADD COLUMN is_fork boolean NOT NULL DEFAULT false,
            ADD COLUMN tree text,
            ADD COLUMN recipe jsonb,
            ADD COLUMN trained_by integer CONSTRAINT fk_releases_trained_by_releases REFERENCES releases (id)
    """)
    op.execute("""
        CREATE INDEX ix_releases_checks ON releases (model, pull_request, id) WHERE trigger = 'check'
    """)
    op.execute("CREATE INDEX ix_releases_checked_trees ON releases (model, tree) WHERE status = 'checked'")
    op.execute("DROP INDEX ix_releases_untold")
    op.execute("""
        CREATE INDEX ix_releases_untold ON releases (id)
            WHERE told IS DISTINCT FROM status AND status NOT IN ('queued', 'building') AND trigger <> 'check'
    """)
    op.execute("""
        CREATE TABLE approvals (
            model text NOT NULL,
            pull_request integer NOT NULL,
            head text NOT NULL,
            who text NOT NULL,
            at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_approvals PRIMARY KEY (model, pull_request, head)
        )
    """)
