"""What is asked for by a mark has an index of what is marked; what was merged is counted since a time."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("DROP INDEX ix_scores_model")
    op.execute("CREATE INDEX ix_scores_model_id ON scores (model, id)")
    op.execute("CREATE INDEX ix_scores_waiting ON scores (id) WHERE status = 'queued'")
    op.execute("CREATE INDEX ix_tracked_version ON tracked (version)")
    op.execute("CREATE INDEX ix_tracked_open ON tracked (release_id) WHERE is_open")
    op.execute("""
        UPDATE vcs.sync_states SET state = jsonb_set(state, '{accepted}', (
            SELECT coalesce(jsonb_object_agg(key, jsonb_build_array('-infinity', value)), '{}')
            FROM jsonb_each(state -> 'accepted')
        )) WHERE state ? 'accepted'
    """)
