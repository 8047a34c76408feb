"""The whole appliance as `make up` runs it, for tests that call it from outside."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from db.states import Status
from tests.harness import plain_http
from tests.harness.processes import alive, mentioning, tree
from tests.harness.waiting import free_port, wait_until

ROOT = Path(__file__).parents[2]
SLIPWAY = [sys.executable, "-c", "from cli.main import app; app()"]
INHERITED = ("PATH", "HOME", "SSL_CERT_FILE", "HTTPS_PROXY", "UV_DEFAULT_INDEX", "UV_INDEX_URL")


class Running:
    """`slipway up` as the demo, in a folder of its own and on free ports; it syncs when it is called.

    It has no MLflow. `more` are further environment variables; None removes one.
    """

    def __init__(self, folder: Path, **more: str | None) -> None:
        self.home, self.said = folder / "home", folder / "said"
        self.vcs, self.serve = free_port(), free_port()
        variables: dict[str, str | None] = (
            {name: os.environ[name] for name in INHERITED if name in os.environ}
            | {
                "SLIPWAY_HOME": str(self.home),
                "SLIPWAY_SINGER": str(ROOT / ".slipway" / "tests" / "singer"),  # stored between runs
                "SLIPWAY_SYNC_SECONDS": "0",
                "MLFLOW_TRACKING_URI": "",
                "VCS_PORT": str(self.vcs),
                "ML_PORT": str(self.serve),
            }
            | more
        )
        self.environment = {name: value for name, value in variables.items() if value is not None}
        self.start()

    def start(self) -> None:
        with self.said.open("w") as output:
            self.process = subprocess.Popen(
                [*SLIPWAY, "up"], env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            wait_until(
                lambda: "Slipway runs" in self.said.read_text(), 170, "the appliance reports that it runs"
            )
        except BaseException:  # nothing else would end it
            self.process.terminate()
            self.process.wait()
            raise

    def end(self, number: signal.Signals = signal.SIGINT) -> None:
        processes = tree(self.process.pid)
        self.process.send_signal(number)
        self.process.wait(30)
        wait_until(lambda: not alive(processes), 30, f"all have ended after {number.name}")
        assert mentioning(self.home) == []

    def slipway(self, *words: str) -> str:
        command = [*SLIPWAY, *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str, kind: str = "application/json") -> httpx.Response:
        address = f"http://127.0.0.1:{self.serve}{path}"
        return plain_http.get(address, headers={"Accept": kind}, timeout=30, trust_env=False)

    def post(self, path: str, asked: dict[str, Any]) -> httpx.Response:
        address = f"http://127.0.0.1:{self.serve}{path}"
        return plain_http.post(address, json=asked, timeout=30, trust_env=False)

    def healthy(self) -> bool:
        addresses = [f"http://127.0.0.1:{port}/health" for port in (self.vcs, self.serve)]
        with suppress(httpx.TransportError):
            return all(plain_http.get(address, trust_env=False).is_success for address in addresses)
        return False

    def unfinished(self) -> list[int]:
        """Return the releases that wait or are built."""
        found = self.get("/releases").json()["releases"]
        return [release["id"] for release in found if not Status(release["status"]).has_ended]

    def checkout(self) -> dict[str, Any]:
        answer = plain_http.post(f"http://127.0.0.1:{self.vcs}/checkout", timeout=60, trust_env=False)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def live(self) -> dict[str, Any]:
        """Return the live release by `GET /`; empty as long as there is none, or serve is starting."""
        try:
            answer = self.get("/")
        except httpx.TransportError:
            return {}
        found: dict[str, Any] = answer.json() if answer.is_success else {}
        return found

    def service(self, module: str) -> psutil.Process | None:
        """Return the process that runs `python -m MODULE`, or Postgres's first process."""
        for process in tree(self.process.pid):
            with suppress(psutil.Error):
                words = [Path(word).name for word in process.cmdline()]
                if words[1:3] == ["-m", module] or words[:1] == [module]:
                    return process
        return None
