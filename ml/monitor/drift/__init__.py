"""The drift statistics: a baseline and recorded rows in, findings out; no database, no network."""
