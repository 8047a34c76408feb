"""Whether a container's service works, as an exit code: `python -m resources.compose.health PORT | watch`."""

import sys
import zlib
from http.client import HTTPConnection, HTTPException

LATE = 90  # seconds: how much longer than SLIPWAY_POLL_SECONDS a look may take before it counts as hanging
LOOKED = """
    SELECT extract(epoch FROM now() - state_change)
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = :lock
"""


def answers(port: int) -> str | None:
    """What is wrong with the service on this port, None when nothing is. No proxy is asked."""
    connection = HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        said = answer.read(1000).decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"nothing answers on port {port}: {error!r}"
    return None if answer.status == 200 else f"{answer.status} {said}"


def looks() -> str | None:
    """What is wrong with the look-out. It asks for its lock before each look: Postgres knows when."""
    from sqlalchemy import text  # noqa: PLC0415 (the others are asked often and need none of this)
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from db.session import sessions  # noqa: PLC0415
    from ml.settings import Settings  # noqa: PLC0415

    settings = Settings()
    try:
        with sessions(settings.database_url).begin() as session:
            idle = session.execute(text(LOOKED), {"lock": zlib.crc32(b"look-out")}).scalar()
    except DBAPIError as error:
        return f"Postgres is away: {error.orig}"
    if idle is None:
        return "no look-out is at work"
    return f"the last look was {idle:.0f} s ago" if idle > settings.poll_seconds + LATE else None


if __name__ == "__main__":
    sys.exit(looks() if sys.argv[1] == "watch" else answers(int(sys.argv[1])))
