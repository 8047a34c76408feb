"""What a GitHub App brings: tokens for clones, requests to check a commit again, and whether one is set."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute("ALTER TABLE appliance ADD COLUMN has_github_app boolean NOT NULL DEFAULT false")
    op.execute("""
        CREATE TABLE vcs.clone_tokens (
            repository text CONSTRAINT pk_clone_tokens PRIMARY KEY,
            token text NOT NULL,
            expires_at timestamptz NOT NULL
        )
    """)
    op.execute("""
        CREATE TABLE vcs.recheck_requests (
            repository text NOT NULL,
            commit text NOT NULL,
            model text NOT NULL,
            requested_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_recheck_requests PRIMARY KEY (repository, commit, model)
        )
    """)
