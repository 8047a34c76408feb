"""Short time limits on Postgres, for processes whose Postgres is to be silent for longer than they wait."""

from contextlib import suppress

with suppress(ImportError):  # an environment of a model has neither Slipway nor psycopg2
    from db import limits

    limits.CONNECT_SECONDS = limits.ANSWER_MARGIN_SECONDS = 1.0
    limits.STATEMENT_SECONDS = limits.BUILDER_SECONDS = 2.0
