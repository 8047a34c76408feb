"""What a builder says of its release while it goes on: stages, facts, a line in the log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import claims
from db.claims import Claim
from db.models import Outcome
from ml import disk, stagelog
from ml.errors import Rejected, Unavailable
from ml.stagelog import Say

Found = TypeVar("Found")


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
            outcome, why = ended_by(fault, self._log(name).parent)
            say(f"{outcome}: {why}")
            raise
        finally:
            with self._sessions.begin() as session:
                claims.end_stage(session, stage, outcome)
            took = monotonic() - begun
            logger.info("release {}: {} {} in {:.1f} s", self._claim.release.id, name, outcome, took)

    def read(self, query: Callable[[Session], Found]) -> Found:
        """What a query gives, in a transaction of its own."""
        with self._sessions.begin() as session:
            return query(session)

    def record(self, **facts: Any) -> None:
        """Columns of the release that became known."""
        with self._sessions.begin() as session:
            claims.record(session, self._claim, **facts)


def ended_by(fault: BaseException, home: Path) -> tuple[Outcome, str]:
    """How a stage ends that raised this, in a word and in words; `home` is on the disk of SLIPWAY_HOME."""
    match fault:
        case Rejected():
            return Outcome.REJECTED, str(fault)
        case Unavailable():
            return Outcome.UNAVAILABLE, str(fault)
        case OSError(errno=number) if number in disk.ERRORS:
            return Outcome.UNAVAILABLE, disk.told(fault, home)
        case Exception():
            return Outcome.FAILED, repr(fault)
    return Outcome.FAILED, "the appliance stops"
