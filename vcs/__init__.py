"""The service vcs: it syncs repositories' pull requests from GitHub into Postgres."""
