"""The kinds of sync failures, in words for a person: the cause, and what to do about it."""

from dataclasses import dataclass

from common.git_login import MEMORY_BYTES
from common.text import first_line
from common.units import format_gib
from db.session import is_disk_full


@dataclass(frozen=True)
class FailureKind:
    status: int  # of the problem document
    title: str
    hint: str


RETRY_HINT = "Nothing is lost: the next sync brings what is missing."

FAILURE_KINDS = {
    "unauthorized": FailureKind(
        502,
        "GitHub does not accept the token",
        "GITHUB_TOKEN is wrong, expired or revoked: make a new one (read access to the repository is "
        "enough), set it and start again.",
    ),
    "forbidden": FailureKind(
        502,
        "GitHub forbids this to the token",
        "GITHUB_TOKEN may not read the pull requests of this repository: grant it read access to pull "
        "requests, and authorize it for the organization where single sign-on asks for that.",
    ),
    "not-found": FailureKind(
        502,
        "GitHub has no such repository",
        "SLIPWAY_REPOSITORY is misspelled, or the repository is private and GITHUB_TOKEN may not see it.",
    ),
    "app": FailureKind(502, "The GitHub App cannot read the repository", RETRY_HINT),
    "app-unauthorized": FailureKind(
        502,
        "GitHub does not accept the GitHub App's token any more",
        f"Slipway asks for another one. {RETRY_HINT}",
    ),
    "app-forbidden": FailureKind(
        502,
        "GitHub forbids this to the GitHub App",
        "Give the App the permission Pull requests: Read-only or more, and accept it for the installation.",
    ),
    "app-not-found": FailureKind(
        502,
        "The GitHub App sees no such repository",
        "SLIPWAY_REPOSITORY is misspelled, or the App is not installed for it: give it this repository.",
    ),
    "rate-limit": FailureKind(
        503,
        "GitHub's hourly quota is used up",
        "Slipway retries automatically when the window ends. A GITHUB_TOKEN of its own "
        "raises the quota from 60 to 5000 calls an hour.",
    ),
    "secondary-rate-limit": FailureKind(
        503,
        "GitHub asks for a pause",
        "Too many calls came in too short a time with this token; Slipway retries automatically after the "
        "pause. See what else uses the token.",
    ),
    "low-quota": FailureKind(
        429,
        "GitHub's quota is nearly used up",
        "The rest is reserved for the regular sync: see /pull-requests in a while.",
    ),
    "server-error": FailureKind(
        502, "GitHub has an error", f"See https://www.githubstatus.com. {RETRY_HINT}"
    ),
    "unreachable": FailureKind(
        502,
        "GitHub cannot be reached",
        f"See that GITHUB_API_URL is right and can be reached from here (DNS, firewall, proxy). {RETRY_HINT}",
    ),
    "html": FailureKind(
        502,
        "A web page came in place of GitHub's API",
        "GITHUB_API_URL is not an API's address (GitHub Enterprise: https://host/api/v3), or a proxy or a "
        "login page stands in between.",
    ),
    "truncated": FailureKind(
        502,
        "GitHub's answer is cut off or not JSON",
        f"A proxy or the network cuts answers short. {RETRY_HINT}",
    ),
    "too-large": FailureKind(
        502,
        "GitHub's answer is too large to be one of its own",
        "See what stands between here and GITHUB_API_URL: no page of pull requests is that large.",
    ),
    "malformed": FailureKind(
        502,
        "GitHub sent a malformed pull request",
        "Open that pull request's address in GitHub's API and compare. Slipway skips no pull request: "
        "its syncs stop here until GitHub sends a valid one.",
    ),
    "unexpected": FailureKind(502, "GitHub's response was unexpected", RETRY_HINT),
    "git-unreachable": FailureKind(
        502,
        "The git repository cannot be read",
        "See that SLIPWAY_REPOSITORY has the right address, with a login where one is needed, and that "
        f"Slipway's user may read it. {RETRY_HINT}",
    ),
    "git-no-branch": FailureKind(
        502,
        "The git repository has no such branch",
        "Set SLIPWAY_BRANCH, or `branch` in models.toml, to one that it has, or push to that branch.",
    ),
    "git-too-large": FailureKind(
        502,
        f"Git would use more than {format_gib(MEMORY_BYTES)} of memory for the repository",
        "Make the messages of its newest commits and its folders smaller.",
    ),
    "git-too-many-branches": FailureKind(
        502,
        "The git repository lists too many branches",
        "Delete old branches there, or set SLIPWAY_BRANCH, or `branch` in models.toml, to one that it has.",
    ),
    "git-not-installed": FailureKind(503, "git is not installed", "Install git, and start Slipway again."),
    "git-broken": FailureKind(
        503,
        "The commits of the git repository cannot be stored",
        f"See that SLIPWAY_HOME can be written to, and remove its folder `commits`. {RETRY_HINT}",
    ),
    "database-gone": FailureKind(
        503, "The database does not answer", f"See that Postgres runs and DATABASE_URL is right. {RETRY_HINT}"
    ),
    "database-refused": FailureKind(
        503, "The database refuses Slipway", "See that user, password and database in DATABASE_URL are right."
    ),
    "database-schema": FailureKind(
        503, "The database lacks Slipway's tables", "Run `python -m db.migrate` with this DATABASE_URL."
    ),
    "disk-full": FailureKind(
        507, "The database's disk is full", f"Make room on the disk that Postgres writes to. {RETRY_HINT}"
    ),
    "database-error": FailureKind(503, "The database refused the pull requests", RETRY_HINT),
    "database-value": FailureKind(
        500,
        "Postgres cannot hold a value of a pull request",
        "This is a bug in Slipway: report it with the cause. Syncs of this repository stop here until "
        "the pull request is changed or Slipway is fixed.",
    ),
    "killed": FailureKind(
        503,
        "Singer was killed in the middle of a sync",
        f"Mostly that is the kernel out of memory: see its log (`dmesg`). {RETRY_HINT}",
    ),
    "timeout": FailureKind(
        504,
        "The sync took too long",
        "It was ended after SLIPWAY_SYNC_TIMEOUT seconds: GitHub, "
        f"git or the database may hang. {RETRY_HINT}",
    ),
    "being-installed": FailureKind(
        503,
        "Singer is being installed",
        "Slipway reads pull requests as soon as that is done, in about a minute.",
    ),
    "not-installed": FailureKind(
        503,
        "Singer is not installed",
        "Run `python -m vcs.install` as the same user, with the same SLIPWAY_SINGER.",
    ),
    "stopping": FailureKind(503, "Slipway is stopping", "Retry when it runs. " + RETRY_HINT),
    "broken": FailureKind(
        500, "Singer failed", "This is a bug in Slipway; the log of vcs has the details. " + RETRY_HINT
    ),
}


class SyncError(Exception):
    """A failed sync, whose state was not advanced. `wait`: seconds until a retry makes sense."""

    def __init__(self, kind: str, cause: str, wait: int | None = None) -> None:
        self.kind, self.cause, self.wait = kind, cause, wait
        failure = FAILURE_KINDS[kind]
        self.status, self.title, self.hint = failure.status, failure.title, failure.hint
        super().__init__(f"{failure.title} ({cause}). {failure.hint}")

    @property
    def summary(self) -> str:
        """Return the cause and what to do; of git and of the App the cause names what is wrong."""
        return (
            str(self) if self.kind == "app" or self.kind.startswith("git-") else f"{self.title}. {self.hint}"
        )

    def for_repository(self, repository: str) -> "SyncError":
        """Return the same error, with the name of the failed repository."""
        return SyncError(self.kind, f"in {repository}: {self.cause}", self.wait)


def from_database_error(sqlstate: str | None, error: str, message: str) -> SyncError:
    """Return the error for a message of Postgres, or of the connection to it."""
    return SyncError(classify_database_error(sqlstate, error, message), first_line(message, error))


def classify_database_error(sqlstate: str | None, error: str, message: str) -> str:
    if is_disk_full(sqlstate, message):
        return "disk-full"
    if sqlstate is None:  # no server sent it: the connection was refused or broke
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
