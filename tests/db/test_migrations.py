"""The migrations and the tables of the models say the same."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select, text

from cli.up.postgres import Postgres
from db import claims, databases, merge_groups, migrate, outbox, outbox_delivery
from db.base import Base
from db.claims import Finished
from db.ground_truth_models import GroundTruth
from db.mlflow_models import MlflowRun
from db.models import Release
from db.monitor_models import DriftWindow
from db.request_log_models import RecordedRequest
from db.session import create_sessionmaker, to_driver_url
from db.states import Status
from db.vcs_models import OutboxSubject, PullRequest


def test_migrations_make_the_tables_that_the_code_expects(database_url: str) -> None:
    """Singer's columns are beside ours in `vcs.pull_requests`, and its indexes are written by hand."""
    assert Release.metadata is MlflowRun.metadata is PullRequest.metadata is Base.metadata
    assert RecordedRequest.metadata is GroundTruth.metadata is DriftWindow.metadata is Base.metadata
    engine = create_engine(to_driver_url(database_url))
    with engine.connect() as connection:
        options = {"include_schemas": True, "include_object": ours, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()
    assert differences == []


def ours(item: Any, name: str, kind: str, reflected: bool, _: object) -> bool:
    singers = kind in ("column", "index") and item.table.fullname == "vcs.pull_requests"
    is_partition = kind == "table" and name.startswith(("requests_", "ground_truth_"))
    return not (reflected and (singers or is_partition or name == "alembic_version"))


def test_what_was_counted_as_accepted_is_counted_once(postgres: Postgres) -> None:
    url = postgres.database_url("counted")
    databases.create(postgres.database_url(), "counted")
    migrate.upgrade_schema(url, "0013")
    engine = create_engine(to_driver_url(url))
    with engine.begin() as connection:
        for repository, state in (("a/m", '{"singer": {}, "accepted": {"main": 3}}'), ("a/new", "{}")):
            row = {"repository": repository, "state": state}
            connection.execute(text("INSERT INTO vcs.sync_states VALUES (:repository, :state)"), row)

    migrate.upgrade_schema(url)

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT repository, state FROM vcs.sync_states"))
        states = {row.repository: row.state for row in rows}
    engine.dispose()
    assert states == {"a/m": {"singer": {}, "accepted": {"main": ["-infinity", 3]}}, "a/new": {}}


def test_checks_on_their_way_go_on_after_an_upgrade(postgres: Postgres) -> None:
    url = postgres.database_url("checks")
    databases.create(postgres.database_url(), "checks")
    migrate.upgrade_schema(url, "0018")
    sessions = create_sessionmaker(url)
    with sessions.begin() as session:
        session.execute(
            text("""
                INSERT INTO releases
                    (model, repository, commit, trigger, status, token, attempts, pull_request)
                VALUES ('m', 'a/m', 'head', 'check', 'building', 'of a builder that is gone', 1, 7)
            """)
        )
        session.execute(text("INSERT INTO appliance (id, mode) VALUES (1, 'repository')"))
        outbox.put_status(
            session, repository="a/m", commit="head", model="m", state="pending", description="train runs"
        )

    migrate.upgrade_schema(url)

    with sessions.begin() as session:
        check = session.scalars(select(Release)).one()
        assert not merge_groups.find_use(session, "m", "a/m", "main").is_known
        claims.requeue_orphaned(session, check)
        made = claims.claim(session, check.id)
        assert made is not None
        claims.settle(session, made, Finished(Status.REJECTED, "it is worse"))
        told = {
            due.kind: due.facts["state"]
            for _ in range(2)
            if (due := outbox_delivery.claim_due(session, ["a/m"], 60))
        }
        assert told == {"status": "failure", "comment": "failure"}
        kinds = session.scalars(select(OutboxSubject.kind).order_by(OutboxSubject.kind)).all()
    sessions.kw["bind"].dispose()
    assert kinds == ["comment", "status"]  # and no check run without an App


def test_minutes_of_before_are_counted_by_hour(postgres: Postgres) -> None:
    url = postgres.database_url("hours")
    databases.create(postgres.database_url(), "hours")
    migrate.upgrade_schema(url, "0026")
    engine = create_engine(to_driver_url(url))
    with engine.begin() as connection:
        for model, minute, failed, counts in (
            ("m", "10:01", 1, [1, 2]),
            ("m", "10:59", 2, [10, 20]),
            ("m", "11:00", 0, [5, 0]),
            ("n", "10:30", 0, [7, 7]),
        ):
            values = {"model": model, "at": f"2026-11-01 {minute}Z", "failed": failed, "counts": counts}
            row = "INSERT INTO traffic (model, minute, failed, counts) VALUES (:model, :at, :failed, :counts)"
            connection.execute(text(row), values)

    migrate.upgrade_schema(url)

    with engine.connect() as connection:
        query = "SELECT model, date_part('hour', hour AT TIME ZONE 'UTC'), failed, counts FROM hourly_traffic"
        found = sorted(map(tuple, connection.execute(text(query))))
    engine.dispose()
    assert found == [("m", 10, 3, [11, 22]), ("m", 11, 0, [5, 0]), ("n", 10, 0, [7, 7])]


def test_migrating_again_changes_nothing(database_url: str) -> None:
    migrate.upgrade_schema(database_url)
    migrate.upgrade_schema(database_url)
