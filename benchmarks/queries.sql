-- Fill a database for `queries.py`, which inserts the number of rows of each table.

INSERT INTO vcs.pull_requests (id, _sdc_repository, number, state, title, body, html_url, user_login, base_ref,
    head_ref, head_sha, merge_commit_sha, created_at, updated_at, merged_at)
SELECT i, 'acme/model-' || i % {models}, i, CASE WHEN i % 13 = 0 THEN 'open' ELSE 'closed' END, 'Change ' || i,
    repeat('some words of a body ', 10), 'https://example.com/pull/' || i, 'ada',
    CASE WHEN i % 17 = 1 THEN 'next' ELSE 'main' END, 'branch-' || i, md5('h' || i) || '00000000',
    md5('m' || i) || '00000000', now() - interval '2 years' + i * interval '1 minute',
    now() - interval '2 years' + i * interval '1 minute',
    CASE WHEN i % 13 IN (0, 2) THEN NULL ELSE now() - interval '2 years' + i * interval '1 minute' END
FROM generate_series(1, {pulls}) i;

INSERT INTO releases (model, repository, commit, trigger, pull_request, title, author, merged_at, status, attempts,
    created_at, started_at, finished_at, release_on, entry_point, kind, info, metrics, environment, lock, python,
    artifact, verdict, pruned_at, told, position, data, ref)
SELECT 'model-' || i % {models}, 'acme/model-' || i % {models}, md5('m' || i * {every}) || '00000000',
    CASE WHEN i % {models} = 9 THEN 'tag' ELSE 'merge' END, i,
    'Change ' || i, 'ada', now(), status, 1, now(), now(), now(), 'merge', 'main:entry_point', 'time-series',
    '{{"Name": "Visits", "Type": "Time series regressor", "Evaluation metric": "SMAPE"}}'::jsonb,
    ('{{"SMAPE":' || random() || '}}')::jsonb, md5('e' || i / 100), repeat('package==1.2.3' || chr(10), 60), '3.12.1',
    md5('a' || i), '{{"rules": [], "passed": true}}'::jsonb, CASE WHEN i < {releases} - 20 * {models} THEN now() END,
    status, i / {models}, '{{"test": {{"sha256": "abc"}}}}'::jsonb, CASE WHEN i % {models} = 9 THEN 'v0.' || i END
FROM (SELECT i, CASE WHEN i / {models} % 10 < 6 THEN 'deployed' WHEN i / {models} % 10 < 8 THEN 'rejected'
    WHEN i / {models} % 10 < 9 THEN 'superseded' ELSE 'failed' END AS status FROM generate_series(1, {releases}) i) made;

INSERT INTO stages (release_id, name, outcome, started_at, ended_at)
SELECT releases.id, name, 'done', now(), now()
FROM releases, unnest(ARRAY['checkout', 'environment', 'data', 'train', 'evaluate', 'gate', 'deploy']) name;

INSERT INTO deployments (model, release_id, cause, who, state, created_at, live_at)
SELECT model, id, 'gate', 'gate', CASE WHEN id % 50 = 7 THEN 'failed' ELSE 'live' END, now(),
    CASE WHEN id % 50 = 7 THEN NULL ELSE now() END
FROM releases WHERE status = 'deployed' ORDER BY id;

INSERT INTO tracked (release_id, key, experiment, run, version, told_at)
SELECT id, md5('k' || id), '1', md5('r' || id), id, now() FROM releases;

SELECT create_request_partition((now() AT TIME ZONE 'UTC')::date - i) FROM generate_series(-3, 29) i;

INSERT INTO requests
    (id, row, at, model, release_id, route, client_id, features, answer, milliseconds, is_whole, is_reduced)
SELECT gen_random_uuid(), 0, now() - i * interval '29 days' / {predictions}, 'model-' || i % ({predictions} / 1000),
    1, 'predict', 'c', ('{{"days":' || i % 30 || '}}')::jsonb, '[1.0, 2.0, 3.0]', 1.5, true, false
FROM generate_series(1, {predictions}) i;

INSERT INTO ground_truth (id, row, at, model, value, source, is_early, stored_at)
SELECT id, row, at, model, '1.5', 'system', row_number() OVER () % 1000 = 0, now() - interval '1 hour' FROM requests;

INSERT INTO traffic (model, minute, failed, counts)
SELECT 'model-' || i % ({predictions} / 1000), date_trunc('minute', now()) - i / ({predictions} / 1000) * interval '1 minute',
    0, array_fill(i % 7, ARRAY[28])
FROM generate_series(1, {predictions}) i;

INSERT INTO appliance (id, mode) VALUES (1, 'repository') ON CONFLICT DO NOTHING;

INSERT INTO scores (model, release_id, requested_by, status, metrics, finished_at)
SELECT model, id, 'ada', 'passed', metrics, now() FROM releases;

INSERT INTO vcs.deliveries (id, received_at)
SELECT md5('d' || i), now() - i * interval '2 seconds' FROM generate_series(1, {releases}) i;

INSERT INTO vcs.sync_states (repository, state)
SELECT 'acme/model-' || i, '{{}}' FROM generate_series(0, {models} - 1) i;

INSERT INTO vcs.outbox (key, kind, repository, facts, delivered, state, github_id, due_at, created_at, changed_at)
SELECT 'status acme/model-' || i % {models} || ' ' || i, 'status', 'acme/model-' || i % {models},
    '{{"state": "success", "description": "passed"}}', 1, 'delivered', i, NULL,
    now() - i * interval '20 seconds', now() - i * interval '20 seconds'
FROM generate_series(1, {releases}) i;
