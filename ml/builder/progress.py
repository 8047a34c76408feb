"""The progress that a builder records of its release: each stage with its facts and its log."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, TypeVar, TypeVarTuple

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import claims, request_erasure, stages
from db.claims import Claim
from db.models import StageName
from db.states import StageOutcome
from ml import stage_log
from ml.builder.commit import PostgresLostError, commit_change
from ml.builder.outcomes import to_stage_outcome
from ml.builder.stages.result import StageResult
from ml.stage_log import LogLine

Inputs = TypeVarTuple("Inputs")
SomeResult = TypeVar("SomeResult", bound=StageResult)
Written = TypeVar("Written")


class StageRunner(Protocol):
    """Whatever runs the stages of a release, and records them."""

    def run_stage(
        self, name: StageName, run: Callable[[*Inputs, LogLine], SomeResult], *inputs: *Inputs
    ) -> SomeResult:
        """Run a stage and return its result; raises what the stage raised, or its failure."""
        ...


class BuildProgress:
    """The record of a build in Postgres, each entry conditional on the claim; it waits for Postgres.

    `log` returns the path of a stage's log.
    """

    def __init__(
        self, sessions: sessionmaker[Session], claim: Claim, log: Callable[[StageName], Path]
    ) -> None:
        self._sessions, self._claim, self._log = sessions, claim, log

    def run_stage(
        self, name: StageName, run: Callable[[*Inputs, LogLine], SomeResult], *inputs: *Inputs
    ) -> SomeResult:
        """Run a stage; record its facts together with its end, or how it failed.

        Raises what the stage raised, or its failure once that is recorded; `claims.ClaimLostError` when the
        builder no longer owns the release; `PostgresLostError` when nothing can be recorded.
        """
        log_line = stage_log.stage_logger(self._log(name))
        stage = self._commit(lambda session: claims.begin_stage(session, self._claim, name))
        begun, outcome = monotonic(), StageOutcome.FAILED
        try:
            result = run(*inputs, log_line)
            failure = result.failure
            outcome = StageOutcome.REUSED if result.is_reused else StageOutcome.DONE
            if failure:
                outcome = self._log_failure(failure, name, log_line)
            self._end_stage(stage, outcome, result.facts)
        except PostgresLostError:
            raise
        except BaseException as fault:
            outcome = self._log_failure(fault, name, log_line)
            self._end_stage(stage, outcome, {})
            raise
        finally:
            took = monotonic() - begun
            if outcome == StageOutcome.DONE:
                log_line(f"done in {took:.1f} s")
            logger.info("release {}: {} {} in {:.1f} s", self._claim.release.id, name, outcome, took)
        if failure:
            raise failure
        return result

    def _log_failure(self, fault: BaseException, name: StageName, log_line: LogLine) -> StageOutcome:
        """Log why a stage failed, and return its outcome."""
        outcome, why = to_stage_outcome(fault, self._log(name).parent)
        log_line(f"{outcome}: {why}")
        return outcome

    def _end_stage(self, stage: int, outcome: StageOutcome, facts: Mapping[str, Any]) -> None:
        """Record the columns that a stage determined, and its end, in one transaction."""

        def end(session: Session) -> None:
            if differences := facts.get("differences"):
                model = self._claim.release.model
                changed = request_erasure.without_erased(session, model, differences)
                claims.record_facts(session, self._claim, **{**facts, "differences": changed})
            elif facts:
                claims.record_facts(session, self._claim, **facts)
            stages.end_stage(session, stage, outcome)

        self._commit(end)

    def _commit(self, change: Callable[[Session], Written]) -> Written:
        return commit_change(self._sessions, self._claim.release.id, change)
