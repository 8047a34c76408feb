-- Fill a database for `monitor_page.py`: one model, monitored for a month.

INSERT INTO releases (model, repository, commit, trigger, status)
SELECT 'model', 'acme/model', md5('c' || i), 'merge', 'deployed' FROM generate_series(1, 50) i;

INSERT INTO deployments (model, release_id, cause, who, state, live_at)
SELECT 'model', i, 'gate', 'gate', 'live', now() - (50 - i) * interval '14 hours' - interval '1 hour'
FROM generate_series(1, 50) i;

INSERT INTO releases (model, repository, commit, trigger, status)
SELECT 'other-' || i % 10, 'acme/other', md5('o' || i), 'merge', 'deployed' FROM generate_series(1, 5000) i;

INSERT INTO deployments (model, release_id, cause, who, state, live_at)
SELECT model, id, 'operator', 'ada', 'live', now() - (6000 - id) * interval '1 hour' FROM releases WHERE id > 50;

SELECT create_request_partition((now() AT TIME ZONE 'UTC')::date - i) FROM generate_series(-3, 29) i;

INSERT INTO requests
    (id, row, at, model, release_id, route, client_id, features, answer, error, milliseconds, is_whole, is_reduced)
SELECT gen_random_uuid(), 0, now() - i * interval '29 days' / {rows}, 'model',
    50 - floor((i * 696.0 / {rows} + 13) / 14), 'predict', 'c', '{{"days": 3}}'::jsonb,
    CASE WHEN i % 100 > 0 THEN to_jsonb(random()) END, CASE WHEN i % 100 = 0 THEN 'invalid' END, 1.5, true, false
FROM generate_series(1, {rows}) i;

INSERT INTO traffic (model, minute, failed, counts)
SELECT 'model', date_trunc('minute', now()) - i * interval '1 minute', 0, array_fill(i % 7, ARRAY[28])
FROM generate_series(0, 2879) i;

INSERT INTO hourly_traffic (model, hour, failed, counts)
SELECT name, date_trunc('hour', now(), 'UTC') - i * interval '1 hour', 0, array_fill(i % 7, ARRAY[28])
FROM generate_series(0, 767) i, unnest('{{model,a,b,c,d,e,f,g,h,i}}'::text[]) name;

INSERT INTO drift_windows (model, release_id, made_at, "window", rows, calls, status, reason, findings)
SELECT 'model', 50, now() - i * interval '15 minutes', kind, 1000, 900, 'same', '', (
    SELECT jsonb_agg(jsonb_build_object(
        'name', 'column ' || n, 'is_prediction', false, 'kind', 'number', 'status', 'same', 'reason', '',
        'comparisons', '[{{"statistic": "wasserstein", "value": 0.05, "threshold": 0.1, "before": 0}}]'::jsonb,
        'distribution', jsonb_build_object(
            'of', 'numbers', 'labels', '[]'::jsonb, 'other', '[0, 0]'::jsonb, 'unseen', 0,
            'values', '[10000, 1000]'::jsonb, 'edges', (SELECT jsonb_agg(e) FROM generate_series(0, 20) e),
            'before', (SELECT jsonb_agg(0.05) FROM generate_series(1, 20)),
            'now', (SELECT jsonb_agg(0.05) FROM generate_series(1, 20))
        )
    )) FROM generate_series(1, 24) n
)
FROM generate_series(1, 2880) i, unnest(ARRAY['newest', 'day']) kind;

INSERT INTO quality_windows
    (model, release_id, made_at, "window", begins_at, ends_at, recorded, rows, kind, metrics, status, reason)
SELECT 'model', 50, now() - i * interval '15 minutes', kind, now() - interval '7 days', now(), 1000, 400,
    'regression', '{{"MAE": {{"value": 0.4, "low": 0.3, "high": 0.5}}}}', 'same', ''
FROM generate_series(1, 2880) i, unnest(ARRAY['day', 'week', 'month']) kind
