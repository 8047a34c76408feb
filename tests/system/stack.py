"""The compose file's services, from a clean checkout of this tree, under a name and on ports of their own."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from tests.harness.waiting import free_port

ROOT = Path(__file__).parents[2]
SERVICES = ("db", "demo", "mlflow", "serve", "vcs", "watch")  # what keeps running
OURS = ("DATABASE_URL", "GITHUB_", "MLFLOW_", "ML_PORT", "POSTGRES_", "SLIPWAY_", "VCS_PORT")
CRASH = "kill -9 $(grep --files-with-matches '^PPid:.1$' /proc/[0-9]*/status | grep -o '[0-9]*')"


def engine() -> bool:
    """Whether a Docker engine answers here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def check_out(into: Path) -> Path:
    """The files that git knows, or would: what a clone has, and nothing that was built or set beside them."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, into / name)
    return into


class Stack:
    def __init__(self, folder: Path, name: str) -> None:
        self.folder = check_out(folder)
        self.vcs, self.serve, self.mlflow = free_port(), free_port(), free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        self.environment = kept | {
            "COMPOSE_PROJECT_NAME": name,
            "VCS_PORT": str(self.vcs),
            "ML_PORT": str(self.serve),
            "MLFLOW_PORT": str(self.mlflow),
        }

    def compose(self, *arguments: str) -> str:
        return self.docker("compose", *arguments)

    def docker(self, *arguments: str) -> str:
        """What the engine says; a failed test with its last lines when that is an error."""
        ended = subprocess.run(
            ["docker", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{ended.stdout}\n{ended.stderr}"[-4000:]
        assert ended.returncode == 0, f"docker {' '.join(arguments)}: {said}"
        return ended.stdout

    def up(self) -> None:
        try:
            self.compose("up", "--build", "--detach", "--wait")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--tail', '20')}") from error

    def services(self) -> dict[str, dict[str, Any]]:
        """What `docker compose ps` shows of the containers that run, by service."""
        shown = [json.loads(line) for line in self.compose("ps", "--format", "json").splitlines()]
        return {service["Service"]: service for service in shown}

    def state(self, service: str, template: str) -> str:
        """What `docker inspect` knows of a service's container."""
        container = self.compose("ps", "--all", "--quiet", service).strip()
        return self.docker("inspect", "--format", template, container).strip()

    def inside(self, service: str, *command: str) -> str:
        return self.compose("exec", "--no-TTY", service, *command).strip()

    def crash(self, service: str) -> None:
        """Kill what the container's init runs, and so the container; mostly our shell goes with it."""
        command = ["docker", "compose", "exec", "--no-TTY", service, "sh", "-c", CRASH]
        subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, check=False)

    def ask(self, port: int, path: str, method: str = "GET") -> dict[str, Any] | None:
        """The JSON at this address, None while there is no good answer."""
        request = Request(
            f"http://127.0.0.1:{port}{path}", method=method, headers={"Accept": "application/json"}
        )
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=120) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (HTTPError, URLError, OSError):
            return None

    def remove(self) -> None:
        """Containers, volumes and images."""
        self.compose("down", "--volumes", "--rmi", "all", "--timeout", "5")
