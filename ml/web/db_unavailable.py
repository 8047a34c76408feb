"""The problem that a client gets while Postgres is unavailable."""

from common.problems import ProblemError
from db.session import describe_error

MESSAGE = "Postgres is unavailable: {}. The live model keeps serving."


def to_problem(error: Exception) -> ProblemError:
    """Return the problem for one of `DB_ERRORS`."""
    detail = f"{MESSAGE.format(describe_error(error))} Try again soon."
    return ProblemError(503, "Postgres is unavailable", detail, headers={"Retry-After": "5"})
