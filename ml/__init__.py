"""Postgres to production: builds releases and serves what is live."""
