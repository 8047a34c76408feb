"""A stage's facts and its end are one: both are recorded, or neither is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from common.errors import RejectedError, UnavailableError
from db import claims, release_queue
from db.claims import Claim, ClaimLostError
from db.models import Release, Stage, StageName
from db.session import create_sessionmaker
from db.states import StageOutcome, Trigger
from ml.builder.commit import PostgresLostError
from ml.builder.progress import BuildProgress
from ml.builder.stages.result import StageResult
from ml.stage_log import LogLine
from tests.harness.faults import Hole

Sessions = sessionmaker[Session]


@pytest.fixture
def claim(sessions: Sessions) -> Claim:
    with sessions.begin() as session:
        queued = release_queue.queue_release(session, "m", "a/m", "1" * 40, Trigger.MANUAL)
    with sessions.begin() as session:
        found = claims.claim(session, queued.id)
    assert found is not None
    return found


def run_stage(sessions: Sessions, claim: Claim, folder: Path, stage: Any) -> StageResult:
    progress = BuildProgress(sessions, claim, lambda name: folder / f"{name}.log")
    found: StageResult = progress.run_stage(StageName.EVALUATE, stage)
    return found


def read(sessions: Sessions) -> tuple[StageOutcome, dict[str, float] | None, str | None]:
    """The outcome of the only stage, and what its release has of it."""
    with sessions.begin() as session:
        release, stage = session.scalars(select(Release)).one(), session.scalars(select(Stage)).one()
        assert (stage.ended_at is None) == (stage.outcome is StageOutcome.RUNNING)
        return stage.outcome, release.metrics, release.kind


def scored(log_line: LogLine) -> StageResult:
    return StageResult(facts={"metrics": {"SMAPE": 0.2}, "kind": "generic"})


def test_facts_are_recorded_with_the_end_of_a_stage(sessions: Sessions, claim: Claim, tmp_path: Path) -> None:
    run_stage(sessions, claim, tmp_path, scored)

    assert read(sessions) == (StageOutcome.DONE, {"SMAPE": 0.2}, "generic")
    assert (tmp_path / "evaluate.log").read_text().splitlines()[-1].partition(" ")[2].startswith("done in ")


@pytest.mark.parametrize("failure", [RejectedError("worse"), UnavailableError("away")])
def test_the_facts_of_a_failure_are_recorded_before_it(
    failure: RejectedError | UnavailableError, sessions: Sessions, claim: Claim, tmp_path: Path
) -> None:
    def fails(_: LogLine) -> StageResult:
        return StageResult(facts={"metrics": {"SMAPE": 0.9}}, failure=failure)

    with pytest.raises(type(failure), match=str(failure)):
        run_stage(sessions, claim, tmp_path, fails)

    outcome = StageOutcome.REJECTED if isinstance(failure, RejectedError) else StageOutcome.UNAVAILABLE
    assert read(sessions) == (outcome, {"SMAPE": 0.9}, None)
    assert (tmp_path / "evaluate.log").read_text().count(f"{outcome}: {failure}\n") == 1


def test_facts_that_cannot_be_stored_end_no_stage_as_done(
    sessions: Sessions, claim: Claim, tmp_path: Path
) -> None:
    def names_no_release(_: LogLine) -> StageResult:
        return StageResult(facts={"kind": "generic", "warm_start": 4711})

    with pytest.raises(IntegrityError):
        run_stage(sessions, claim, tmp_path, names_no_release)

    assert read(sessions) == (StageOutcome.FAILED, None, None)


def test_a_cancelled_release_gets_no_facts(sessions: Sessions, claim: Claim, tmp_path: Path) -> None:
    def is_cancelled(log_line: LogLine) -> StageResult:
        with sessions.begin() as session:
            assert release_queue.cancel(session, claim.release.id, "dana")
        return scored(log_line)

    with pytest.raises(ClaimLostError):
        run_stage(sessions, claim, tmp_path, is_cancelled)

    assert read(sessions) == (StageOutcome.FAILED, None, None)


@pytest.fixture
def hole(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hole]:
    """A way to Postgres that can be closed, and a builder that soon gives up."""
    monkeypatch.setattr("db.limits.ANSWER_MARGIN_SECONDS", 0.5)
    monkeypatch.setattr("db.limits.CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("ml.builder.commit.PAUSE_SECONDS", (0.0, 0.0))
    made = Hole(postgres.port)
    yield made
    made.close()


def test_a_lost_postgres_is_given_up_once(
    hole: Hole, database_url: str, claim: Claim, tmp_path: Path, lines: list[str]
) -> None:
    url = make_url(database_url).set(port=hole.port).render_as_string(hide_password=False)
    through = create_sessionmaker(url, seconds=1)

    def loses_postgres(log_line: LogLine) -> StageResult:
        hole.open.clear()
        return scored(log_line)

    with pytest.raises(PostgresLostError, match="Postgres has not responded"):
        run_stage(through, claim, tmp_path, loses_postgres)
    through.kw["bind"].dispose()

    assert ["waits for Postgres" in line for line in lines].count(True) == 1
