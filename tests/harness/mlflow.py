"""Slipway's MLflow server for tests, with a database of its own in the tests' Postgres."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from cli.up.postgres import Postgres
from common.system.process_guard import GUARD_COMMAND
from tests.harness.environments import ROOT
from tests.harness.waiting import free_port, wait_until

ENVIRONMENT = ROOT / ".slipway" / "tests" / "mlflow" / "environment"  # stored between runs


@dataclass
class Server:
    """An MLflow server with `folder` as SLIPWAY_HOME; it may be stopped and started again, with its state."""

    postgres: Postgres
    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def operator_password(self) -> str:
        return (self.folder / "mlflow" / "operator.password").read_text().strip()

    @property
    def appliance_password(self) -> str:
        return (self.folder / "mlflow" / "appliance.password").read_text().strip()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def database(self) -> str:
        """A name of its own in a Postgres that others share."""
        return f"mlflow_{hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "DATABASE_URL": self.postgres.database_url(),
            "MLFLOW_DATABASE": self.database,
            "MLFLOW_PORT": str(self.port),
            "SLIPWAY_HOME": str(self.folder),
            "SLIPWAY_MLFLOW": str(ENVIRONMENT),
        }

    def start(self) -> "Server":
        """Start it and wait until it answers; it ends with this process, however that ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            command = [*GUARD_COMMAND, "5", "SIGTERM", sys.executable, "-m", "mlflow_server"]
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        wait_until(self.answers_or_ended, 240, "MLflow answers")  # making its environment takes the longest
        assert self.process.poll() is None, self.log
        return self

    def answers_or_ended(self) -> bool:
        assert self.process
        return self.process.poll() is not None or self.answers()

    def answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/health", timeout=5):
                return True
        except (URLError, OSError):
            return False

    def stop(self) -> None:
        if self.process and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def start(postgres: Postgres, folder: Path, port: int = 0) -> Server:
    """Start a server, which the caller stops; takes about 10 s: share it in a module."""
    return Server(postgres, folder, port or free_port()).start()
