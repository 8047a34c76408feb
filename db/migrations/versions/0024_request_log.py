"""The request log, a table partitioned by day, in place of the sampled predictions; its partitions are made
and dropped by two functions, since no service may create or drop tables.
"""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.execute("DROP TABLE predictions")
    op.execute("ALTER TABLE releases ADD COLUMN record jsonb")
    op.execute("""
        CREATE TABLE requests (
            id uuid NOT NULL,
            "row" integer NOT NULL,
            at timestamptz NOT NULL,
            model text NOT NULL,
            release_id integer NOT NULL,
            route text NOT NULL,
            client_id text NOT NULL,
            features jsonb,
            answer jsonb,
            error text,
            milliseconds real NOT NULL,
            is_whole boolean NOT NULL,
            is_reduced boolean NOT NULL,
            CONSTRAINT pk_requests PRIMARY KEY (id, "row", at)
        ) PARTITION BY RANGE (at)
    """)
    op.execute("CREATE INDEX ix_requests_model_at ON requests (model, at)")
    op.execute("""
        CREATE INDEX ix_requests_replayable ON requests (model, at) WHERE is_whole AND error IS NULL
    """)
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    op.execute(f"""
        CREATE FUNCTION create_request_partition(day date) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '5s'
        SET timezone = 'UTC' SET datestyle = 'ISO' AS $$  -- of the bounds, whatever the caller has set
        DECLARE
            name text := 'requests_' || to_char(day, 'YYYYMMDD');
        BEGIN
            IF day NOT BETWEEN current_date - 400 AND current_date + 8 THEN
                RAISE EXCEPTION 'no partition is made for %', day;
            END IF;
            PERFORM pg_advisory_xact_lock(7145002);
            IF to_regclass('{schema}.' || name) IS NOT NULL THEN
                RETURN false;
            END IF;
            -- attached, and not created as a partition: that would lock out every reader and writer
            EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.requests INCLUDING CONSTRAINTS)', name);
            EXECUTE format(
                'ALTER TABLE {schema}.requests ATTACH PARTITION {schema}.%I FOR VALUES FROM (%L) TO (%L)',
                name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
            );
            RETURN true;
        END $$
    """)
    op.execute(f"""
        CREATE FUNCTION drop_request_partition(day date) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '5s' AS $$
        DECLARE
            name text := 'requests_' || to_char(day, 'YYYYMMDD');
        BEGIN
            PERFORM pg_advisory_xact_lock(7145002);
            IF to_regclass('{schema}.' || name) IS NULL THEN
                RETURN false;
            END IF;
            EXECUTE format('DROP TABLE {schema}.%I', name);
            RETURN true;
        END $$
    """)
    for function in ("create_request_partition(date)", "drop_request_partition(date)"):
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
