"""The repository's own tests as stages of a release: real commands in the real sandbox."""

import pytest

from db import checks, releases
from db.models import Release
from db.states import Status
from tests.harness.repositories import Files
from tests.ml.builder.test_release import go_live
from tests.ml.checks.test_checks import propose, show
from tests.ml.conftest import Appliance
from tests.models import working

DIFFERENTIAL = """
import os, pickle, sys
read = lambda name: pickle.loads(open(os.environ[name], "rb").read())
rows = open(os.environ["SLIPWAY_TEST_DATA"]).readlines()
candidate = read("SLIPWAY_CANDIDATE")
live = read("SLIPWAY_LIVE") if "SLIPWAY_LIVE" in os.environ else None
print("candidate", candidate, "live", live, "rows", len(rows) > 1)
sys.exit(live is not None and abs(candidate - live) > 5)
"""
DIFFERENTIAL_FILES = {
    "slipway.toml": "[test]\nafter_train = 'python differential.py'\n",
    "differential.py": DIFFERENTIAL,
}
PYTEST_FILES = {
    "slipway.toml": "[test]\ncommand = 'pytest -q'\nrequirements = 'requirements-test.txt'\n",
    "requirements-test.txt": "pytest\n",
}


def build(appliance: Appliance, files: Files) -> Release:
    commit = appliance.merge(files)
    appliance.settle()
    return appliance.release(commit)


def stages_of(appliance: Appliance, release: Release) -> list[str]:
    with appliance.sessions.begin() as session:
        found = releases.find(session, release.id)
        assert found is not None
        return [stage.name for stage in found.stages]


def read_log(appliance: Appliance, release: Release, stage: str) -> str:
    return (appliance.settings.home / f"releases/{release.id}/logs/{stage}.log").read_text()


def test_the_tests_run_first_with_packages_of_their_own(appliance: Appliance) -> None:
    tests = {"tests/test_it.py": "import main, pandas\ndef test_it(tmp_path): assert main.entry_point\n"}
    release = build(appliance, {**working.quick(), **PYTEST_FILES, **tests})

    assert (release.status, release.reason) == (Status.DEPLOYED, None)
    assert stages_of(appliance, release)[:4] == ["checkout", "environment", "test", "data"]
    assert "1 passed" in read_log(appliance, release, "test")
    assert release.lock is not None
    assert "pytest" not in release.lock


def test_a_failing_test_rejects_with_its_last_lines(appliance: Appliance) -> None:
    tests = {"test_it.py": "def test_it(): assert 1 + 1 == 3\n"}
    release = build(appliance, {**working.quick(), **PYTEST_FILES, **tests})

    assert release.status is Status.REJECTED
    assert release.reason is not None
    assert release.reason.startswith("[test] command ended with code 1. Its last lines:")
    assert "1 failed" in release.reason
    assert stages_of(appliance, release) == ["checkout", "environment", "test"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("./not-executable", "[test] command ended with code 127"),
        ("exit 126", "[test] command ended with code 127"),
        ("kill -9 $$", "[test] command"),
        (
            "python -c 'import socket; socket.create_connection((\"127.0.0.1\", 1))'",
            "[test] command ended with code 1",
        ),
        (
            'python -c \'x = open("/etc/passwd").read() and open("main.py", "a").write("#") and 1/0\'',
            "ZeroDivisionError",
        ),
    ],
)
def test_a_command_that_fails_is_the_commits_fault(command: str, says: str, appliance: Appliance) -> None:
    manifest = f"[test]\ncommand = '''{command}'''\n"
    release = build(appliance, {**working.quick(), "not-executable": "", "slipway.toml": manifest})

    assert (release.status, release.attempts) == (Status.REJECTED, 1)
    assert release.reason is not None
    assert says in release.reason


def test_packages_of_tests_come_from_the_repository(appliance: Appliance) -> None:
    (appliance.settings.home / "other.txt").write_text("six\n")
    outside = '[test]\ncommand = "true"\nrequirements = "../../../other.txt"\n'
    release = build(appliance, {**working.quick(), "slipway.toml": outside})

    assert release.status is Status.REJECTED
    assert "other.txt" in (release.reason or "")


def test_nothing_that_the_tests_write_reaches_the_model(appliance: Appliance) -> None:
    changes = "echo 'raise SystemExit(9)' > main.py; echo 'no' > $HOME/left; mkdir -p a/b; touch a/b/c"
    release = build(appliance, {**working.quick(), "slipway.toml": f"[test]\ncommand = '''{changes}'''\n"})

    assert release.status is Status.DEPLOYED
    folder = appliance.settings.home / f"releases/{release.id}"
    left = {path.name for path in folder.rglob("*")}
    assert not left & {"left", "b"}
    assert not [name for name in left if name.startswith("source-")]


def test_the_trained_model_is_tested_beside_the_live_one(appliance: Appliance) -> None:
    first = build(appliance, {**working.quick(value=20.0), **DIFFERENTIAL_FILES})
    assert first.status is Status.DEPLOYED
    assert "candidate 20.0 live None rows True" in read_log(appliance, first, "after_train")
    go_live(appliance)

    close = build(appliance, {**working.quick(value=22.0), **DIFFERENTIAL_FILES})
    assert "candidate 22.0 live 20.0" in read_log(appliance, close, "after_train")
    go_live(appliance)

    far = build(appliance, {**working.quick(value=90.0), **DIFFERENTIAL_FILES})
    assert far.status is Status.REJECTED
    assert stages_of(appliance, far)[-1] == "after_train"
    assert not list(appliance.settings.home.glob("releases/*/live-model"))


def test_the_check_of_a_fork_does_not_see_the_live_model(appliance: Appliance) -> None:
    build(appliance, {**working.quick(value=20.0), **DIFFERENTIAL_FILES})
    go_live(appliance)

    own = propose(appliance, 11, {**working.quick(value=21.0), **DIFFERENTIAL_FILES})
    assert own.status is Status.CHECKED
    assert "live 20.0" in read_log(appliance, own, "after_train")

    head = appliance.repository.propose(12, {**working.quick(value=23.0), **DIFFERENTIAL_FILES})
    show(appliance, 12, head, head_repository_id=2)
    followed = appliance.settings.list_models()[0]
    with appliance.sessions.begin() as session:
        pulls = checks.list_open(session, followed.repository, followed.branch)
        checks.approve(session, appliance.model, 12, head, pulls=pulls, who="dana")
    appliance.settle()
    fork = appliance.release(head)
    assert fork.status is Status.CHECKED
    assert "live None" in read_log(appliance, fork, "after_train")


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ("command = 5", "command"),
        ("command = ' '", "command"),
        ("command = 'a\\u0000b'", "command"),
        (f"command = '{'x' * 1001}'", "command"),
        ("requirements = 'a/../../other.txt'", "requirements"),
        ("requirements = '-rsecret'", "requirements"),
        ("requirements = 'https://example.org/r.txt'", "requirements"),
    ],
)
def test_a_section_that_is_wrong_is_named(manifest: str, says: str, appliance: Appliance) -> None:
    manifest = manifest.replace("'", '"')
    release = build(appliance, {**working.quick(), "slipway.toml": f"[test]\n{manifest}\n"})

    assert release.status is Status.REJECTED
    assert release.reason is not None
    assert release.reason.startswith("slipway.toml")
    assert says in release.reason


def test_missing_test_requirements_are_named(appliance: Appliance) -> None:
    manifest = "[test]\ncommand = 'true'\nrequirements = 'nowhere.txt'\n"
    release = build(appliance, {**working.quick(), "slipway.toml": manifest})

    assert release.reason == "[test] requirements names nowhere.txt, and the repository has no such file"
