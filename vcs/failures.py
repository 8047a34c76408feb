"""Why a sync failed, in words for a person: the cause, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    status: int  # of the problem document
    title: str
    cure: str


LATER = "Nothing is lost: the next sync brings what is missing."

KINDS = {
    "unauthorized": Kind(
        502,
        "GitHub does not accept the token",
        "GITHUB_TOKEN is wrong, expired or revoked: make a new one (read access to the repository is "
        "enough), set it and start again.",
    ),
    "forbidden": Kind(
        502,
        "GitHub forbids this to the token",
        "GITHUB_TOKEN may not read the pull requests of this repository: grant it read access to pull "
        "requests, and authorize it for the organization where single sign-on asks for that.",
    ),
    "not-found": Kind(
        502,
        "GitHub knows no such repository",
        "SLIPWAY_REPOSITORY is misspelled, or the repository is private and GITHUB_TOKEN may not see it.",
    ),
    "rate-limit": Kind(
        503,
        "GitHub's hourly quota is used up",
        "Slipway asks again by itself when the window ends. A GITHUB_TOKEN of its own raises the quota from "
        "60 to 5000 calls an hour.",
    ),
    "secondary-rate-limit": Kind(
        503,
        "GitHub asks for a pause",
        "Too many calls came in too short a time with this token; Slipway asks again by itself after the "
        "pause. See what else uses the token.",
    ),
    "low-quota": Kind(
        429,
        "GitHub's quota is nearly used up",
        "What is left of it is kept for the regular sync, which goes on: look at /pull-requests in a while.",
    ),
    "server-error": Kind(502, "GitHub has an error", f"See https://www.githubstatus.com. {LATER}"),
    "unreachable": Kind(
        502,
        "GitHub cannot be reached",
        f"See that GITHUB_API_URL is right and can be reached from here (DNS, firewall, proxy). {LATER}",
    ),
    "html": Kind(
        502,
        "A web page came in place of GitHub's API",
        "GITHUB_API_URL is not an API's address (GitHub Enterprise: https://host/api/v3), or a proxy or a "
        "login page stands in between.",
    ),
    "truncated": Kind(
        502, "GitHub's answer is broken off or no JSON", f"A proxy or the network cuts answers short. {LATER}"
    ),
    "malformed": Kind(
        502,
        "GitHub sent a pull request that is not one",
        "Open that pull request's address in GitHub's API and compare; nothing is passed over in silence, "
        "so syncs stop here until the record is whole again.",
    ),
    "unexpected": Kind(502, "GitHub answered in a way that is not known", LATER),
    "database-gone": Kind(
        503, "The database does not answer", f"See that Postgres runs and DATABASE_URL is right. {LATER}"
    ),
    "database-refused": Kind(
        503, "The database refuses Slipway", "See that user, password and database in DATABASE_URL are right."
    ),
    "database-schema": Kind(
        503, "The database lacks Slipway's tables", "Run `python -m db.migrate` with this DATABASE_URL."
    ),
    "disk-full": Kind(
        507, "The database's disk is full", f"Make room on the disk that Postgres writes to. {LATER}"
    ),
    "database-error": Kind(503, "The database did not take the pull requests", LATER),
    "database-value": Kind(
        500,
        "Postgres cannot hold a value of a pull request",
        "This is a fault of Slipway's: report it with the cause. Syncs of this repository stop here until "
        "the pull request is changed or Slipway is mended.",
    ),
    "killed": Kind(
        503,
        "Singer was killed in the middle of a sync",
        f"Mostly that is the kernel out of memory: see its log (`dmesg`). {LATER}",
    ),
    "timeout": Kind(
        504,
        "The sync took too long",
        f"It was ended after SLIPWAY_SYNC_TIMEOUT seconds: GitHub or the database may hang. {LATER}",
    ),
    "not-installed": Kind(
        503,
        "Singer is not installed",
        "Run `python -m vcs.install` with the same SLIPWAY_HOME and SLIPWAY_SINGER.",
    ),
    "stopping": Kind(503, "Slipway is stopping", "Ask again when it runs. " + LATER),
    "broken": Kind(
        500, "Singer broke", "This is no fault of yours; the log of vcs has the details. " + LATER
    ),
}


class SyncFailed(Exception):
    """The state was not moved forward. `wait`: seconds after which asking again makes sense."""

    def __init__(self, kind: str, cause: str, wait: int | None = None) -> None:
        self.kind, self.cause, self.wait = kind, cause, wait
        known = KINDS[kind]
        self.status, self.title, self.cure = known.status, known.title, known.cure
        super().__init__(f"{known.title} ({cause}). {known.cure}")

    @property
    def said(self) -> str:
        """What is wrong and what to do, without what only its log needs."""
        return f"{self.title}. {self.cure}"

    def of(self, repository: str) -> "SyncFailed":
        """The same, saying which of several repositories it was."""
        return SyncFailed(self.kind, f"in {repository}: {self.cause}", self.wait)


def database(sqlstate: str | None, error: str, message: str) -> SyncFailed:
    """What Postgres, or the way to it, said."""
    cause = next(iter(message.strip().splitlines()), error)
    return SyncFailed(database_kind(sqlstate, error, message), cause)


def database_kind(sqlstate: str | None, error: str, message: str) -> str:
    if sqlstate == "53100" or "No space left on device" in message:
        return "disk-full"
    if sqlstate is None:  # no server said it: the connection was refused or broke
        refused = "authentication failed" in message or "does not exist" in message
        return (
            ("database-refused" if refused else "database-gone") if error == "OperationalError" else "broken"
        )
    if sqlstate[:2] == "08" or sqlstate in ("53300", "57P01", "57P02", "57P03"):
        return "database-gone"
    if sqlstate[:2] in ("28", "3D"):
        return "database-refused"
    if sqlstate[:2] == "22":
        return "database-value"
    return "database-schema" if sqlstate in ("42P01", "3F000", "42703") else "database-error"
