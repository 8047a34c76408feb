"""Frequent queries with a million rows and with a thousand: the ratio, and scans of whole tables."""

import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.query_plans import Query, compared
from benchmarks.vcs_queries import vcs_queries
from cli.up.postgres import Postgres
from db import (
    appliance,
    check_list,
    claims,
    databases,
    deployment_history,
    deployments,
    ground_truth,
    migrate,
    mlflow_state,
    pull_requests,
    release_queue,
    releases,
    request_erasure,
    request_log,
    request_partitions,
    retraining_plans,
    retrainings,
    rollbacks,
    scores,
    stages,
    traffic,
)
from db.claims import Claim, Deployed
from db.models import Deployment, Release, StageName
from db.pull_requests import Accepted
from db.session import create_sessionmaker, to_driver_url
from db.states import Cause, StageOutcome, Status
from ml.serving.request_log.ids import IdMaker
from ml.serving.telemetry.traffic import NO_COUNTS
from ml.web import serializers
from ml.web.api.traffic import BUCKET_COUNT
from ml.web.pages.dashboard_data import summarize_models
from ml.web.pages.releases import find_rollback_target

REPOSITORY, MODEL = "acme/model-0", "model-0"
MODELS = 10
ON_TAGS = "model-9"

FILL = Path(__file__).with_suffix(".sql")


def main() -> bool:
    """Return True when no query takes more than three times as long, or reads the whole of a large table."""
    settings = {"fsync": "off", "synchronous_commit": "off", "max_wal_size": "2GB"}
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        server = Postgres(Path(folder) / "postgres", settings=settings).start()
        try:
            small = filled(server, "small", pulls=1000, made=1000, sampled=1000)
            large = filled(server, "large", pulls=1_000_000, made=100_000, sampled=1_000_000)
            fine = [compared(name, query, small, large) for name, query in queries(large).items()]
            return all(fine)
        finally:
            server.stop()


def filled(server: Postgres, name: str, *, pulls: int, made: int, sampled: int) -> sessionmaker[Session]:
    databases.create(server.database_url(), name)
    migrate.upgrade_schema(server.database_url(name))
    engine = create_engine(to_driver_url(server.database_url(name)), isolation_level="AUTOCOMMIT")
    sizes = {"pulls": pulls, "releases": made, "predictions": sampled, "every": pulls // made}
    with engine.connect() as connection:
        for statement in FILL.read_text().format(models=MODELS, **sizes).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return create_sessionmaker(server.database_url(name))


def queries(large: sessionmaker[Session]) -> dict[str, Query]:
    """Return the queries and writes of normal operation, by name."""
    with large.begin() as session:
        merges = pull_requests.list_accepted(session, REPOSITORY, "main", 200)
        lately = merges[100].merged_at.isoformat()
    commits = [merge.commit for merge in merges[:50]]
    models = [f"model-{n}" for n in range(MODELS)]
    return {
        **vcs_queries(REPOSITORY, MODEL, lately),
        "merges of a branch": lambda s: pull_requests.list_accepted(s, REPOSITORY, "main", 200),
        "pull requests, accepted": lambda s: pull_requests.list_pull_requests(
            s, REPOSITORY, "main", "accepted", limit=51
        ),
        "pull requests, open": lambda s: pull_requests.list_pull_requests(
            s, REPOSITORY, "main", "open", limit=51
        ),
        "pull requests, the last page": lambda s: pull_requests.list_pull_requests(
            s, REPOSITORY, "main", "all", limit=51, before=500
        ),
        "releases of commits": lambda s: releases.find_by_commits(s, REPOSITORY, commits),
        "reconcile: queue what was merged": lambda s: release_queue.queue_merges(s, MODEL, merged(s)),
        "reconcile: queue what was tagged": lambda s: release_queue.queue_tags(
            s, ON_TAGS, REPOSITORY, tagged(s)
        ),
        "reconcile: what is building": releases.list_building,
        "reconcile: what was cancelled": lambda s: release_queue.find_ended(s, range(1, 50)),
        "reconcile: what is to be scored": scores.list_queued,
        "reconcile: what is due": lambda s: release_queue.find_due(s, MODEL),
        "reconcile: when the next is due": release_queue.seconds_until_due,
        "reconcile: merges of the same time": lambda s: release_queue.is_tied(s, MODEL, merges),
        "gate: what was live lately": lambda s: releases.list_recently_live(s, MODEL, "abc"),
        "reconcile: on merges or tags": lambda s: release_queue.find_release_trigger(s, MODEL),
        "reconcile: what may be retrained": lambda s: retraining_plans.list_live(s, models),
        "reconcile: what waits to be retrained": lambda s: retrainings.list_waiting(s, models),
        "page: retraining": lambda s: retrainings.list_retrainings(s, MODEL),
        "build: from the queue to users": built,
        "build: put back": put_back,
        "decide: roll back, twice": rolled_back,
        "decide: deploy": lambda s: deployments.deploy(s, earlier(s), who="ada", why=None),
        "gc: prune": lambda s: releases.prune_artifacts(s, MODEL, 20),
        "gc: releases with files": releases.list_with_files,
        "page: releases": lambda s: page_of_releases(s, None),
        "page: releases of a model": lambda s: page_of_releases(s, MODEL),
        "page: open pull requests": lambda s: check_list.list_pull_requests(s, MODEL, REPOSITORY, "main"),
        "page: how many are open": lambda s: check_list.count_open(s, REPOSITORY, "main"),
        "page: overview": lambda s: summarize_models(s, {model: live(s, model) for model in models}),
        "page: a release": lambda s: serializers.serialize_release(
            s, serializers.find_release(s, live_id(s))
        ),
        "page: where a rollback goes": lambda s: find_rollback_target(s, MODEL),
        "page: when it was live": lambda s: deployment_history.find_live_until(s, live_id(s)),
        "page: what was decided": lambda s: deployment_history.list_deployments(s, MODEL),
        "page: what was decided of a release": lambda s: deployment_history.list_deployments(
            s, MODEL, release=live_id(s)
        ),
        "page: the release of its merge": lambda s: releases.find_merge_of(
            s, serializers.find_release(s, live_id(s))
        ),
        "page: requests of an hour": lambda s: requests(s, seconds=60, points=60),
        "page: requests of a day": lambda s: requests(s, seconds=900, points=96),
        "page: requests of each model": lambda s: traffic.read_hour(s, models, bounds=BUCKET_COUNT),
        "page: the appliance": lambda s: (
            appliance.seconds_since_heartbeat(s),
            appliance.find_problem(s, "github"),
        ),
        "call: train a commit": lambda s: releases.list_commits(s, MODEL, 100),
        "call: score": scored,
        "call: scores": lambda s: scores.list_scores(s, MODEL),
        "call: cancel": lambda s: release_queue.cancel(s, queued(s).id, "ada"),
        "deployer: live and wanted": lambda s: (
            deployments.find_live(s, MODEL),
            deployments.find_wanted(s, MODEL),
        ),
        "deployer: live for the first time": lambda s: deployments.is_first(s, deployment(s)),
        "deployer: reference data": lambda s: releases.find_reference_data(s, live_id(s)),
        "gate: what is decided": lambda s: deployments.take_snapshot(s, MODEL),
        "gate: recorded requests": lambda s: request_log.list_replayable(s, MODEL, 200),
        "gate: rows with hidden fields": lambda s: request_log.count_reduced(s, MODEL, 200),
        "gate: what was erased meanwhile": lambda s: request_erasure.without_erased(
            s, MODEL, compared_rows()
        ),
        "deployer: what is recorded": lambda s: releases.list_record_sections(s, deployment(s).release),
        "request log: 200 rows": lambda s: request_log.record_batch(s, sampled()),
        "request log: partitions": lambda s: request_partitions.find_expired(s, 30, 5 << 30),
        "call: erase a request": lambda s: request_erasure.delete_by_id(s, MODEL, [make_id()]),
        "ground truth: of 200 rows": stored_truth,
        "ground truth: clients' ids": find_clients,
        "ground truth: what is early": ground_truth.settle_early,
        "requests: a minute of each model": lambda s: traffic.record_counts(
            s, dict.fromkeys(models, NO_COUNTS), timedelta(seconds=30)
        ),
        "MLflow: what is not exported": lambda s: mlflow_state.list_unsynced(s, ended=True),
        "MLflow: what has begun": lambda s: mlflow_state.list_unsynced(s, ended=False),
        "MLflow: aliases that are out of sync": lambda s: mlflow_state.is_out_of_sync(s, MODEL),
        "MLflow: the release of a version": lambda s: mlflow_state.find_release_by_version(
            s, MODEL, live_id(s)
        ),
        "MLflow: a version is gone": lambda s: mlflow_state.clear_version(s, MODEL, live_id(s)),
        "MLflow: models whose code may log": mlflow_state.list_models_with_access,
        "MLflow: close access": lambda s: mlflow_state.close_access(s, MODEL),
        "MLflow: export a release": told,
    }


def requests(session: Session, *, seconds: int, points: int) -> object:
    return traffic.read(session, MODEL, seconds=seconds, points=points, bounds=BUCKET_COUNT)


def merged(session: Session) -> list[Accepted]:
    """Return a merge that is new, and the newest one that has a release."""
    [newest] = releases.list_releases(session, MODEL, 1)
    commits = ["f" * 40, newest.commit]
    return [Accepted(REPOSITORY, 1, None, None, commit, datetime.now(UTC)) for commit in commits]


def tagged(session: Session) -> list[tuple[str, str]]:
    """Return a tag that is new, and the newest one that has a release."""
    [newest] = releases.list_releases(session, ON_TAGS, 1)
    return [("v-new", "f" * 40), (str(newest.ref), newest.commit)]


def queued(session: Session) -> Release:
    release = release_queue.queue_merges(session, MODEL, merged(session))
    assert release is not None
    return release


def claimed(session: Session) -> Claim:
    claim = claims.claim(session, queued(session).id)
    assert claim is not None
    return claim


def built(session: Session) -> None:
    """Take a merge from the queue to a live release."""
    claim = claimed(session)
    stage = claims.begin_stage(session, claim, StageName.GATE)
    claims.record_facts(session, claim, metrics={"SMAPE": 0.2}, artifact="a")
    stages.end_stage(session, stage, StageOutcome.DONE)
    claims.settle(session, claim, Deployed(deployments.take_snapshot(session, MODEL)))
    wanted = deployments.find_wanted(session, MODEL)
    assert wanted is not None
    deployments.mark_live(session, wanted)


def put_back(session: Session) -> None:
    claim = claimed(session)
    claims.release_claim(session, claim, "the appliance was stopped")
    claims.requeue_orphaned(session, claim.release)


def rolled_back(session: Session) -> None:
    """Roll back twice: the first target cannot start, the next older one can."""
    made = deployments.roll_back(session, MODEL, cause=Cause.ROLLBACK, who="ada", why=None)
    deployments.mark_failed(session, made, "it cannot start")
    following = deployments.find_wanted(session, MODEL)
    assert following is not None
    deployments.mark_live(session, following)


def scored(session: Session) -> None:
    score = scores.request_score(session, MODEL, "ada")
    scores.find(session, score.id)
    scores.settle_score(session, score.id, Status.PASSED, metrics={"SMAPE": 0.2})


def told(session: Session) -> None:
    release = serializers.find_release(session, live_id(session))
    mlflow_state.ensure_run(session, release.id)
    mlflow_state.record_facts(session, release.id, run="r")
    mlflow_state.defer_sync(session, release, "MLflow refused it")
    mlflow_state.mark_synced(session, release)


def page_of_releases(session: Session, model: str | None) -> object:
    found = releases.list_releases(session, model, 50)
    return serializers.serialize_summaries(session, found)


def live(session: Session, model: str) -> Release | None:
    found = deployments.find_live(session, model)
    return found.release if found else None


def deployment(session: Session) -> Deployment:
    found = deployments.find_live(session, MODEL)
    assert found is not None
    return found


def live_id(session: Session) -> int:
    return deployment(session).release_id


def earlier(session: Session) -> Release:
    """Return the release that was live before."""
    found = rollbacks.find_target(session, deployment(session))
    assert found is not None
    return found


def sampled() -> list[dict[str, object]]:
    """Return the rows of a second."""
    shared = {
        "model": MODEL,
        "release_id": 1,
        "route": "predict",
        "client_id": "c",
        "features": '{"days": 3}',
        "answer": "[1.0, 2.0, 3.0]",
        "error": None,
        "milliseconds": 1.5,
        "is_whole": True,
        "is_reduced": False,
    }
    return [{**shared, "id": str(make_id()), "row": row, "at": datetime.now(UTC)} for row in range(200)]


def make_id() -> uuid.UUID:
    """Return an id of a call of today."""
    return IdMaker(b"key", MODEL).make(int(1000 * time.time())).uuid


def stored_truth(session: Session) -> None:
    """Record calls, find their rows, and store the ground truth of each."""
    calls = [make_id() for _ in range(200)]
    rows = [{"id": str(call), "row": 0, "at": request_log.read_id_time(call)} for call in calls]
    request_log.record_batch(session, [{**one, **row} for one, row in zip(sampled(), rows, strict=True)])
    ground_truth.prepare(session, MODEL)
    ground_truth.find_rows(session, [(call, None) for call in calls])
    value = {
        "model": MODEL,
        "value": "1.5",
        "source": "system",
        "observed_at": None,
        "is_early": False,
    }
    ground_truth.store_batch(session, [{**row, **value} for row in rows])


def find_clients(session: Session) -> None:
    ground_truth.prepare(session, MODEL)
    ground_truth.find_calls(session, MODEL, ["c", *(f"unknown-{number}" for number in range(100))])


def compared_rows() -> dict[str, object]:
    return {"worst": [{"features": "3", "prediction": str(make_id())} for _ in range(5)]}
