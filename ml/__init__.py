"""The service that builds releases and serves the live one: from Postgres to production."""
