"""Ground truth, a table with the days of the request log: its partitions are made and dropped with those."""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE ground_truth (
            id uuid NOT NULL,
            "row" integer NOT NULL,
            at timestamptz NOT NULL,
            model text NOT NULL,
            value jsonb NOT NULL,
            source text NOT NULL,
            observed_at timestamptz,
            stored_at timestamptz NOT NULL DEFAULT now(),
            is_early boolean NOT NULL DEFAULT false,
            earlier jsonb NOT NULL DEFAULT '[]',
            CONSTRAINT pk_ground_truth PRIMARY KEY (id, "row", at)
        ) PARTITION BY RANGE (at)
    """)
    op.execute("CREATE INDEX ix_ground_truth_model_at ON ground_truth (model, at)")
    op.execute("CREATE INDEX ix_ground_truth_early ON ground_truth (stored_at) WHERE is_early")
    op.execute("CREATE INDEX ix_requests_client ON requests (model, client_id)")
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    op.execute(f"""
        CREATE OR REPLACE FUNCTION create_request_partition(day date) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '5s'
        SET timezone = 'UTC' SET datestyle = 'ISO' AS $$  -- of the bounds, whatever the caller has set
        DECLARE
            parent text;
            name text;
            is_new boolean := false;
        BEGIN
            IF day NOT BETWEEN current_date - 400 AND current_date + 8 THEN
                RAISE EXCEPTION 'no partition is made for %', day;
            END IF;
            PERFORM pg_advisory_xact_lock(7145002);
            FOREACH parent IN ARRAY ARRAY['ground_truth', 'requests'] LOOP
                name := parent || '_' || to_char(day, 'YYYYMMDD');
                CONTINUE WHEN to_regclass('{schema}.' || name) IS NOT NULL;
                -- attached, and not created as a partition: that would lock out every reader and writer
                EXECUTE format(
                    'CREATE TABLE {schema}.%I (LIKE {schema}.%I INCLUDING CONSTRAINTS INCLUDING DEFAULTS)',
                    name, parent
                );
                EXECUTE format(
                    'ALTER TABLE {schema}.%I ATTACH PARTITION {schema}.%I FOR VALUES FROM (%L) TO (%L)',
                    parent, name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
                );
                is_new := true;
            END LOOP;
            RETURN is_new;
        END $$
    """)  # noqa: S608 (the schema is quoted)
    op.execute(f"""
        CREATE OR REPLACE FUNCTION drop_request_partition(day date) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '5s' AS $$
        DECLARE
            parent text;
            name text;
            is_gone boolean := false;
        BEGIN
            PERFORM pg_advisory_xact_lock(7145002);
            -- in the order in which they are read and written, else each may wait for the other
            FOREACH parent IN ARRAY ARRAY['requests', 'ground_truth'] LOOP
                name := parent || '_' || to_char(day, 'YYYYMMDD');
                CONTINUE WHEN to_regclass('{schema}.' || name) IS NULL;
                EXECUTE format('DROP TABLE {schema}.%I', name);
                is_gone := true;
            END LOOP;
            RETURN is_gone;
        END $$
    """)
    # the days that the log has already
    op.execute(r"""
        DO $$ DECLARE name text; BEGIN
            FOR name IN
                SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
                WHERE inhparent = 'requests'::regclass AND child.relname ~ '^requests_[0-9]{8}$'
            LOOP
                IF to_date(right(name, 8), 'YYYYMMDD') BETWEEN current_date - 400 AND current_date + 8 THEN
                    PERFORM create_request_partition(to_date(right(name, 8), 'YYYYMMDD'));
                END IF;
            END LOOP;
        END $$
    """)
