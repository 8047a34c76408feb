"""What the images are made from cannot change behind a name: base images by digest, uv by its hashes."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from resources.compose import health

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted(ROOT.glob("*/Dockerfile"))
SERVICES = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
DIGEST = re.compile(r"\$\{\w+:-[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}\}")


def arguments(dockerfile: Path) -> dict[str, str]:
    """What the compose file builds this one with."""
    name = str(dockerfile.relative_to(ROOT))
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    found: dict[str, str] = next(build["args"] for build in builds if build["dockerfile"] == name)
    return found


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_every_base_image_is_named_by_its_digest(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    named = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) | set(re.findall(r"from=([^,\s]+)", text))
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
    given = {f"${{{name}}}": value for name, value in arguments(dockerfile).items()}

    assert named
    for image in named - stages:
        assert DIGEST.fullmatch(given.get(image, image)), f"{image} is not named by a digest"


def test_no_service_runs_an_image_that_is_not_made_here() -> None:
    named = {service["image"] for service in SERVICES.values()}
    assert all(image.startswith("${COMPOSE_PROJECT_NAME}-") for image in named)


def test_what_a_health_check_finds_comes_before_its_time_is_up() -> None:
    checks = {name: service.get("healthcheck") for name, service in SERVICES.items() if name != "migrate"}

    assert [name for name, check in checks.items() if check is None] == []
    for check in filter(None, checks.values()):
        assert int(check["timeout"].removesuffix("s")) > health.TIMEOUT_SECONDS
        assert check["start_period"] == "10m"


def test_uv_is_installed_by_the_digests_of_its_lock() -> None:
    command = [sys.executable, "resources/compose/uv.py", "uv.lock"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

    assert said[0] == f"uv=={version('uv')}"
    assert len(said) > 2
    assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", each) for each in said[1:])
