"""GitHub → Postgres: brings a repository's pull requests into the database."""
