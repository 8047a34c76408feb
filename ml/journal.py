"""What a builder says of its release while it goes on: stages, facts, a line in the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import releases
from db.models import Outcome
from db.releases import Claim
from ml.errors import Rejected, Unavailable


class Journal:
    """Every entry is conditional on the claim: `releases.Lost` tells a builder that it no longer holds it."""

    def __init__(self, sessions: sessionmaker[Session], claim: Claim) -> None:
        self._sessions, self._claim = sessions, claim

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage from its begin to its end, whatever that is."""
        with self._sessions.begin() as session:
            stage = releases.begin_stage(session, self._claim, name)
        begun, outcome = monotonic(), Outcome.FAILED
        try:
            yield
            outcome = Outcome.DONE
        except Rejected:
            outcome = Outcome.REJECTED
            raise
        except Unavailable:
            outcome = Outcome.UNAVAILABLE
            raise
        finally:
            with self._sessions.begin() as session:
                releases.end_stage(session, stage, outcome)
            took = monotonic() - begun
            logger.info("release {}: {} {} in {:.1f} s", self._claim.release.id, name, outcome, took)

    def record(self, **facts: Any) -> None:
        """Columns of the release that became known."""
        with self._sessions.begin() as session:
            releases.record(session, self._claim, **facts)
