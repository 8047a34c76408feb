"""The only importer of Singer: tap | target, each in its own environment, both of which must succeed."""

import json
import math
import os
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from loguru import logger

from common.git_login import GIT, strip_login
from common.system.pinned_venv import is_locked
from db.session import to_driver_url
from vcs import errors, git_remote
from vcs.bookmark import Bookmark, Quota, SyncResult, has_moved
from vcs.errors import FAILURE_KINDS, SyncError
from vcs.github_app import AppError, BadAppError, GitHubAccess, TokenAccess
from vcs.github_client import GitHubDownError, RateLimitedError
from vcs.install import is_installed
from vcs.settings import SINGER_RESOURCES, VcsSettings
from vcs.singer_process import Json, SingerProcess

CATALOG_PATH = SINGER_RESOURCES / "catalog.json"
START_DATE = "1970-01-01T00:00:00Z"
MIN_SECRET_CHARS = 8  # a shorter one is no token, and its letters may be in any message
INSTALL_RETRY_SECONDS = 2  # seconds


class Singer:
    """A runner of one sync after the other; `close` ends the running one, from any thread."""

    def __init__(self, settings: VcsSettings, access: GitHubAccess | None = None) -> None:
        self.settings = settings
        self.access = access or TokenAccess(settings.github_token.get_secret_value())
        self.catalog: Json = json.loads(CATALOG_PATH.read_text())
        self.quota: Quota | None = None  # from GitHub's last response
        self._lock = threading.Lock()
        self._processes: list[SingerProcess] = []
        self._ls_remote: subprocess.Popen[bytes] | None = None  # a running `git ls-remote`
        self._closed = False

    def sync_repository(self, repository: str, bookmark: Bookmark) -> SyncResult:
        """Fetch changes since `bookmark`, or raise `SyncError`. Rows may have been written in either case."""
        address = self.settings.git_addresses.get(repository)
        tips = self.find_tips(repository, address) if address else {}
        followed = self.settings.branches[repository]
        missing = tuple(branch for branch in followed if branch not in tips) if tips else ()
        if address and not has_moved(tips, bookmark):
            return SyncResult(0, 1, bookmark, missing)
        with ExitStack() as files:
            if address:
                job = self.git_job(repository, address, list(tips), bookmark)
                tap = SingerProcess("tap", job, files, "git_tap.py")
            else:
                tap = SingerProcess("tap", self.tap_job(repository, bookmark), files)
            target = SingerProcess("target", self.target_job(), files)
            try:
                out = self.run(tap, target)
            finally:
                self.update_quota(tap)
            if self._closed:
                raise SyncError("stopping", "the sync was ended")
            return replace(self.check_result(tap, target, out), missing=missing)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for process in self._processes:
                if process.exit_code is None and process.process:
                    os.killpg(process.process.pid, signal.SIGKILL)
            if self._ls_remote and self._ls_remote.poll() is None:
                os.killpg(self._ls_remote.pid, signal.SIGKILL)

    def find_tips(self, repository: str, address: str) -> dict[str, str]:
        """Return the existing branches, each with its commit."""
        try:
            return git_remote.find_tips(address, self.settings.branches[repository], self.track_ls_remote)
        except SyncError as error:
            ended = SyncError("stopping", "the sync was ended")
            raise ended if self._closed else self.mask_error(error) from error

    def track_ls_remote(self, process: "subprocess.Popen[bytes]") -> None:
        with self._lock:
            self._ls_remote = process
            if self._closed:
                process.kill()

    def run(self, tap: SingerProcess, target: SingerProcess) -> bytes:
        """Return the target's output: Singer's states, one a line."""
        until = time.monotonic() + self.settings.sync_timeout
        try:
            self.start(tap, target)
            assert tap.process and target.process
            out, _ = target.process.communicate(timeout=self.settings.sync_timeout)
            if target.exit_code == 0:  # else the tap would only notice at its next write
                tap.process.wait(max(1.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise SyncError("timeout", f"after {self.settings.sync_timeout:g} s") from None
        finally:
            tap.kill()
            target.kill()
            self._processes = []
        return out

    def start(self, tap: SingerProcess, target: SingerProcess) -> None:
        home = self.settings.singer_home
        if not is_installed(home):
            raise not_installed_error(home)
        with self._lock:
            if self._closed:
                raise SyncError("stopping", "no new sync is started")
            self._processes = [tap, target]
            stream = tap.start(home, subprocess.DEVNULL).stdout
            assert stream
            with stream:  # ours is closed, so that the tap notices when the target is gone
                target.start(home, stream)

    def update_quota(self, tap: SingerProcess) -> None:
        quota = tap.read_report().get("quota")
        self.quota = Quota(**quota) if quota else self.quota

    def check_result(self, tap: SingerProcess, target: SingerProcess, out: bytes) -> SyncResult:
        """Check both exit codes, for a failed tap leaves the target at 0; raise the first cause."""
        report = tap.read_report()
        failure = report.get("failure")
        if failure and failure["kind"] != "target-gone":
            raise self.explain_failure(SyncError(failure["kind"], failure["message"], failure["wait"]))
        if target.exit_code:
            raise self.mask_error(self.explain_target(target))
        for line in report.get("notes", []):
            logger.warning("{}", line)
        states = [line for line in out.splitlines() if line.strip()]
        if tap.exit_code or failure or not states:
            raise self.mask_error(self.explain_exit(tap))
        return SyncResult(
            rows=report["rows"],
            requests=report["requests"],
            bookmark=Bookmark(json.loads(states[-1]), report.get("newest") or {}),
        )

    def explain_failure(self, failure: SyncError) -> SyncError:
        """Return the tap's failure in words for the token, or for the GitHub App."""
        failure = self.mask_error(failure)
        if self.access.app_id is None or f"app-{failure.kind}" not in FAILURE_KINDS:
            return failure
        if failure.kind in ("unauthorized", "not-found"):  # it may be installed anew
            self.access.drop_tokens()
        return SyncError(f"app-{failure.kind}", failure.cause, failure.wait)

    def explain_target(self, target: SingerProcess) -> SyncError:
        failure = target.read_report().get("failure")
        return errors.from_database_error(**failure) if failure else self.explain_exit(target)

    def explain_exit(self, process: SingerProcess) -> SyncError:
        code = process.exit_code or 0
        tail = self.mask_secrets(process.read_stderr_tail())
        logger.error("Singer's {} ended with {} and printed: {}", process.name, code, tail or "nothing")
        if code < 0:
            return SyncError("killed", f"the {process.name} got {signal.Signals(-code).name}")
        last = tail.splitlines()[-1] if tail else "it printed nothing"
        return SyncError("broken", f"the {process.name} ended with {code}: {last}")

    def mask_error(self, error: SyncError) -> SyncError:
        return SyncError(error.kind, self.mask_secrets(error.cause)[:500], error.wait)

    def mask_secrets(self, text: str) -> str:
        url = to_driver_url(self.settings.database_url.get_secret_value())
        secrets = [*self.settings.secrets, *self.access.list_secrets()]
        secrets = [secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS]
        for secret in (*secrets, url.password):
            text = text.replace(str(secret), "***") if secret else text
        return text

    def tap_job(self, repository: str, bookmark: Bookmark) -> Json:
        config = {
            "access_token": self.find_token(repository),
            "repository": repository,
            "base_url": self.settings.github_api_url,
            "start_date": START_DATE,
        }
        return {
            "config": config,
            "state": bookmark.state,
            "newest": bookmark.newest,
            "catalog": self.catalog,
        }

    def find_token(self, repository: str) -> str:
        """Return the token for a repository; raises `SyncError` where GitHub gives the App none."""
        try:
            return self.access.get_token(repository)
        except GitHubDownError as error:
            raise SyncError("unreachable", str(error)) from error
        except RateLimitedError as error:
            raise SyncError("secondary-rate-limit", str(error), math.ceil(error.seconds or 60)) from error
        except (AppError, BadAppError) as error:
            raise SyncError("app", str(error).rstrip(".")) from error

    def git_job(self, repository: str, address: str, branches: list[str], bookmark: Bookmark) -> Json:
        config = {
            "repository": repository,
            "address": strip_login(address),
            "branches": branches,
            "clone": str(self.settings.clone_path(repository)),
            "git": GIT,
            "environment": git_remote.git_environment(address),
        }
        return {"config": config, "newest": bookmark.newest, "catalog": self.catalog}

    def target_job(self) -> Json:
        url = to_driver_url(self.settings.database_url.get_secret_value()).set(
            drivername="postgresql+psycopg"
        )
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


def not_installed_error(home: Path) -> SyncError:
    if is_locked(home):
        return SyncError("being-installed", f"in {home}", INSTALL_RETRY_SECONDS)
    return SyncError("not-installed", f"{home} has no such environments, or they are out of date")
