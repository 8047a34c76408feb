"""What a builder says of its release while it goes on: stages, facts, a line in the log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import claims
from db.claims import Claim
from db.models import Outcome
from ml import stagelog
from ml.errors import Rejected, Unavailable
from ml.stagelog import Say


class Journal:
    """Every entry is conditional on the claim: `claims.Lost` tells a builder that it no longer holds it.

    `log` gives the place of a stage's log.
    """

    def __init__(self, sessions: sessionmaker[Session], claim: Claim, log: Callable[[str], Path]) -> None:
        self._sessions, self._claim, self._log = sessions, claim, log

    @contextmanager
    def stage(self, name: str) -> Iterator[Say]:
        """A stage from its begin to its end, whatever that is; what is said of it goes into its log."""
        say = stagelog.to(self._log(name))
        with self._sessions.begin() as session:
            stage = claims.begin_stage(session, self._claim, name)
        begun, outcome = monotonic(), Outcome.FAILED
        try:
            yield say
            outcome = Outcome.DONE
        except BaseException as fault:
            outcome = outcome_of(fault)
            say(f"{outcome}: {fault or type(fault).__name__}")
            raise
        finally:
            with self._sessions.begin() as session:
                claims.end_stage(session, stage, outcome)
            took = monotonic() - begun
            logger.info("release {}: {} {} in {:.1f} s", self._claim.release.id, name, outcome, took)

    def record(self, **facts: Any) -> None:
        """Columns of the release that became known."""
        with self._sessions.begin() as session:
            claims.record(session, self._claim, **facts)


def outcome_of(fault: BaseException) -> Outcome:
    match fault:
        case Rejected():
            return Outcome.REJECTED
        case Unavailable():
            return Outcome.UNAVAILABLE
    return Outcome.FAILED
