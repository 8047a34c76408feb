"""The only door to Singer: tap | target, each in its own environment, both of which must end well."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from loguru import logger

from db.session import driver_url
from vcs import failures
from vcs.failures import SyncFailed
from vcs.install import REQUIREMENTS, installed, python
from vcs.settings import VcsSettings

HERE = Path(__file__).parent
CATALOG = REQUIREMENTS / "catalog.json"
START = "1970-01-01T00:00:00Z"
TAIL = 16_384  # bytes of what a process said last
# What a network may need; no token, no database, no .netrc that would take the token's place.
PASSED_ON = (
    "PATH LANG LC_ALL SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE"
    " HTTPS_PROXY HTTP_PROXY ALL_PROXY https_proxy http_proxy all_proxy"
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far a sync has come: Singer's state, and the newest records by their fingerprints.

    Without a state everything is asked for.
    """

    state: Json = field(default_factory=dict)
    newest: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Quota:
    """Calls to GitHub: at most `limit` until `until` by `time.monotonic`."""

    limit: int
    remaining: int
    until: float

    @property
    def seconds(self) -> float:
        """How long it holds; 0 or less: the window has ended."""
        return self.until - time.monotonic()

    def allows(self, requests: int) -> bool:
        """Whether so many take less than half of what is left."""
        return requests * 2 <= (self.remaining if self.seconds > 0 else self.limit)


@dataclass(frozen=True)
class Brought:
    rows: int
    requests: int
    progress: Progress


class Member:
    """One of the two processes, with the files that it shares with this one and no other."""

    def __init__(self, name: str, job: Json, files: ExitStack) -> None:
        self.name = name
        self.job = files.enter_context(open_memory(f"{name} job"))
        self.report_file = files.enter_context(open_memory(f"{name} report"))
        self.said = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (`files` closes it)
        self.job.write(json.dumps(job).encode())
        self.job.flush()
        self.job.seek(0)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, home: Path, stdin: IO[bytes] | int | None) -> "subprocess.Popen[bytes]":
        """In a session of its own, so that Ctrl-C in a terminal is for us to pass on."""
        fds = (self.job.fileno(), self.report_file.fileno())
        tied = [str(python(home, self.name)), "-I", str(HERE / "tied.py"), str(os.getpid())]
        self.process = subprocess.Popen(
            [*tied, str(HERE / f"{self.name}.py"), *map(str, fds)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=self.said,
            pass_fds=fds,
            env=environment(),
            start_new_session=True,
        )
        return self.process

    @property
    def code(self) -> int | None:
        """Its exit code: None before it was started and while it runs, negative when it was killed."""
        return self.process.poll() if self.process else None

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def report(self) -> Json:
        size = os.fstat(self.report_file.fileno()).st_size
        found: Json = json.loads(os.pread(self.report_file.fileno(), size, 0) or b"{}")
        return found

    def tail(self) -> str:
        size = os.fstat(self.said.fileno()).st_size
        return os.pread(self.said.fileno(), TAIL, max(0, size - TAIL)).decode("utf-8", "replace").strip()


class Singer:
    """Runs one sync after the other; `close` ends the one that runs, from any thread."""

    def __init__(self, settings: VcsSettings) -> None:
        self.settings = settings
        self.catalog: Json = json.loads(CATALOG.read_text())
        self.quota: Quota | None = None  # as GitHub said last
        self._lock = threading.Lock()
        self._members: list[Member] = []
        self._closed = False

    def sync(self, repository: str, progress: Progress) -> Brought:
        """Bring what is new since `progress`, or raise `SyncFailed`. Rows may have come in any case."""
        with ExitStack() as files:
            tap = Member("tap", self.tap_job(repository, progress), files)
            target = Member("target", self.target_job(), files)
            try:
                out = self.run(tap, target)
            finally:
                self.note(tap)
            if self._closed:
                raise SyncFailed("stopping", "the sync was ended")
            return self.judge(tap, target, out)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for member in self._members:
                if member.code is None and member.process:
                    os.killpg(member.process.pid, signal.SIGKILL)

    def run(self, tap: Member, target: Member) -> bytes:
        """What the target wrote: Singer's states, one a line."""
        until = time.monotonic() + self.settings.sync_timeout
        try:
            self.start(tap, target)
            assert tap.process and target.process
            out, _ = target.process.communicate(timeout=self.settings.sync_timeout)
            if target.code == 0:  # else the tap would only find out when it writes next
                tap.process.wait(max(1.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise SyncFailed("timeout", f"after {self.settings.sync_timeout:g} s") from None
        finally:
            tap.end()
            target.end()
            self._members = []
        return out

    def start(self, tap: Member, target: Member) -> None:
        home = self.settings.singer_home
        if not installed(home):
            raise SyncFailed("not-installed", f"{home} has no such environments, or they are out of date")
        with self._lock:
            if self._closed:
                raise SyncFailed("stopping", "no sync is begun any more")
            self._members = [tap, target]
            stream = tap.start(home, subprocess.DEVNULL).stdout
            assert stream
            with stream:  # ours is closed, so that the tap notices when the target is gone
                target.start(home, stream)

    def note(self, tap: Member) -> None:
        quota = tap.report().get("quota")
        self.quota = Quota(**quota) if quota else self.quota

    def judge(self, tap: Member, target: Member, out: bytes) -> Brought:
        """A tap that failed leaves the target at 0, so both are looked at; the first cause is named."""
        report = tap.report()
        failure = report.get("failure")
        if failure and failure["kind"] != "target-gone":
            raise self.masked(SyncFailed(failure["kind"], failure["message"], failure["wait"]))
        if target.code:
            raise self.masked(self.blame_target(target))
        states = [line for line in out.splitlines() if line.strip()]
        if tap.code or failure or not states:
            raise self.masked(self.broken(tap))
        return Brought(
            rows=report["rows"],
            requests=report["requests"],
            progress=Progress(json.loads(states[-1]), report.get("newest") or {}),
        )

    def blame_target(self, target: Member) -> SyncFailed:
        failure = target.report().get("failure")
        return failures.database(**failure) if failure else self.broken(target)

    def broken(self, member: Member) -> SyncFailed:
        code = member.code or 0
        tail = self.mask(member.tail())
        logger.error("Singer's {} ended with {} and said: {}", member.name, code, tail or "nothing")
        if code < 0:
            return SyncFailed("killed", f"the {member.name} got {signal.Signals(-code).name}")
        last = tail.splitlines()[-1] if tail else "it said nothing"
        return SyncFailed("broken", f"the {member.name} ended with {code}: {last}")

    def masked(self, error: SyncFailed) -> SyncFailed:
        return SyncFailed(error.kind, self.mask(error.cause)[:500], error.wait)

    def mask(self, text: str) -> str:
        url = driver_url(self.settings.database_url.get_secret_value())
        for secret in (*self.settings.secrets, url.password):
            text = text.replace(str(secret), "***") if secret else text
        return text

    def tap_job(self, repository: str, progress: Progress) -> Json:
        config = {
            "access_token": self.settings.github_token.get_secret_value(),
            "repository": repository,
            "base_url": self.settings.github_api_url,
            "start_date": START,
        }
        return {
            "config": config,
            "state": progress.state,
            "newest": progress.newest,
            "catalog": self.catalog,
        }

    def target_job(self) -> Json:
        url = driver_url(self.settings.database_url.get_secret_value()).set(drivername="postgresql+psycopg")
        url = url.update_query_dict({"connect_timeout": "5", "application_name": "slipway-target"})
        config = {
            "sqlalchemy_url": url.render_as_string(hide_password=False),
            "default_target_schema": "vcs",
            "use_copy": True,
            "sanitize_null_text_characters": True,
            "validate_records": False,  # the tap did
            "add_record_metadata": True,
        }
        return {"config": config}


def open_memory(name: str) -> IO[bytes]:
    """A file that exists in memory alone, for what must not be left on a disk."""
    return os.fdopen(os.memfd_create(name), "w+b")


def environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON.split() if name in os.environ}
    here = ["127.0.0.1", "localhost", "::1"]
    direct = ",".join([*filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy")]), *here])
    return {**passed, "NO_PROXY": direct, "no_proxy": direct, "TZ": "UTC", "HOME": "/nonexistent"}
