"""A container's health check, as an exit code: `python -m resources.compose.health PORT
watch`.
"""

import sys
import zlib
from http.client import HTTPConnection, HTTPException

TIMEOUT_SECONDS = 20  # less than docker-compose.yaml allows a check, so that it reports the cause
LATE = 90  # beyond SLIPWAY_POLL_SECONDS that a reconciliation may take before it counts as hanging
LOOKED = """
    SELECT extract(epoch FROM now() - state_change)
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = :lock
"""


def answers(port: int) -> str | None:
    """Return the problem of the service on this port, None for none. No proxy is used."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = answer.read(1000).decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"nothing answers on port {port}: {error!r}"
    return None if answer.status == 200 else f"{answer.status} {body}"


def looks() -> str | None:
    """Return the controller's problem; Postgres records its lock check before each reconciliation."""
    from sqlalchemy import text  # noqa: PLC0415 (the others, called often, do without)
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from db.session import create_sessionmaker, describe_error  # noqa: PLC0415
    from ml.settings import MlSettings  # noqa: PLC0415

    settings = MlSettings()
    try:
        with create_sessionmaker(settings.database_url).begin() as session:
            idle = session.execute(text(LOOKED), {"lock": zlib.crc32(b"look-out")}).scalar()
    except DBAPIError as error:
        return f"Postgres is unavailable: {describe_error(error)}"
    if idle is None:
        return "no controller is running"
    return f"the last reconciliation was {idle:.0f} s ago" if idle > settings.poll_seconds + LATE else None


if __name__ == "__main__":
    sys.exit(looks() if sys.argv[1] == "watch" else answers(int(sys.argv[1])))
