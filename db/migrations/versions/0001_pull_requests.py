"""What vcs fills: pull requests, the state of the sync, webhook deliveries.

The table is ours and not the target's, so that times keep their zone; the target finds it and fills it.
"""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS vcs")
    op.execute("""
        CREATE TABLE vcs.pull_requests (
            id bigint PRIMARY KEY,
            _sdc_repository text NOT NULL,
            node_id text,
            number bigint NOT NULL,
            state text,
            title text,
            body text,
            draft boolean,
            html_url text,
            user_login text,
            user_id bigint,
            author_association text,
            base_ref text,
            base_sha text,
            head_ref text,
            head_sha text,
            merge_commit_sha text,
            labels jsonb,
            created_at timestamptz,
            updated_at timestamptz,
            closed_at timestamptz,
            merged_at timestamptz,
            _sdc_extracted_at timestamptz,
            _sdc_received_at timestamptz,
            _sdc_batched_at timestamptz,
            _sdc_deleted_at timestamptz,
            _sdc_sequence bigint,
            _sdc_table_version bigint,
            _sdc_sync_started_at bigint
        )
    """)
    op.execute("""
        CREATE INDEX ix_pull_requests_accepted
            ON vcs.pull_requests (_sdc_repository, base_ref, merged_at DESC, number DESC)
            WHERE merged_at IS NOT NULL
    """)
    op.execute("CREATE INDEX ix_pull_requests_number ON vcs.pull_requests (_sdc_repository, number DESC)")
    op.execute("""
        CREATE VIEW vcs.accepted_pull_requests AS
            SELECT id, _sdc_repository AS repository, number, title, html_url, user_login,
                   base_ref AS branch, merge_commit_sha AS commit, merged_at
            FROM vcs.pull_requests
            WHERE merged_at IS NOT NULL AND merge_commit_sha IS NOT NULL
    """)
    op.execute("""
        CREATE TABLE vcs.sync_states (
            repository text CONSTRAINT pk_sync_states PRIMARY KEY,
            state jsonb NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE vcs.deliveries (
            id text CONSTRAINT pk_deliveries PRIMARY KEY,
            received_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_deliveries_received_at ON vcs.deliveries (received_at)")
