"""Environments that all appliances of a user share: one for each set of requirements, swept when unused."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.system import pinned_venv

HOLD = (
    "import sys; from pathlib import Path; from common.system import pinned_venv as e; "
    "e.mark_in_use(Path(sys.argv[1]))"
)
WAIT = "import os; os.execv('/bin/cat', ['cat'])"  # as mlflow_server becomes MLflow's server


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "requirements.txt"
    file.write_text("one==1")
    return file


def test_other_requirements_have_another_folder(requirements: Path, tmp_path: Path) -> None:
    first = pinned_venv.shared_folder("singer", [requirements])
    requirements.write_text("one==2")

    assert pinned_venv.shared_folder("singer", [requirements]) != first
    assert first.parent == tmp_path / "cache" / "slipway"


def test_what_is_unused_for_a_month_is_swept(requirements: Path) -> None:
    old = [make_in_a_process(requirements, f"one=={version}", days) for version, days in ((1, 40), (2, 20))]
    requirements.write_text("one==3")
    other = make_in_a_process(requirements, "one==4", 40, name="mlflow")
    mine = pinned_venv.shared_folder("singer", [requirements])
    pinned_venv.remove_unused(mine)

    assert [folder.exists() for folder in (*old, other)] == [False, True, True]


def make_in_a_process(requirements: Path, text: str, days: int, name: str = "singer") -> Path:
    """As an appliance leaves it that has ended."""
    requirements.write_text(text)
    folder = pinned_venv.shared_folder(name, [requirements])
    subprocess.run([sys.executable, "-c", HOLD, str(folder)], check=True)
    ago = time.time() - days * 24 * 3600
    os.utime(folder / pinned_venv.IN_USE_FILE, (ago, ago))
    return folder


def test_what_a_process_holds_stays(requirements: Path) -> None:
    """Also when the process has become another program."""
    folder = pinned_venv.shared_folder("singer", [requirements])
    command = [sys.executable, "-c", f"{HOLD}; {WAIT}", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdin and holding.stdout
        holding.stdin.write(b"here\n")
        holding.stdin.flush()
        holding.stdout.readline()
        os.utime(folder / pinned_venv.IN_USE_FILE, (0, 0))
        requirements.write_text("one==2")
        pinned_venv.remove_unused(pinned_venv.shared_folder("singer", [requirements]))
        assert folder.exists()
    pinned_venv.remove_unused(pinned_venv.shared_folder("singer", [requirements]))
    assert not folder.exists()


def test_a_folder_that_is_not_shared_is_never_swept(requirements: Path, tmp_path: Path) -> None:
    own, other = tmp_path / "own-singer", tmp_path / "own-things"
    other.mkdir()
    (other / pinned_venv.IN_USE_FILE).touch()
    os.utime(other / pinned_venv.IN_USE_FILE, (0, 0))
    pinned_venv.remove_unused(own)

    assert other.exists()


def test_what_one_that_was_killed_has_left_is_taken_away(tmp_path: Path, requirements: Path) -> None:
    requirements.write_text("")
    environment = pinned_venv.PinnedVenv(tmp_path / "shared" / "tap", requirements)
    (tmp_path / "shared" / ".tap-0abc_def" / "tap" / "lib").mkdir(parents=True)
    environment.create()

    assert environment.is_current
    assert list(environment.folder.parent.iterdir()) == [environment.folder]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(SystemExit, match="no home folder: set HOME"):
        pinned_venv.cache_folder()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (pinned_venv.InstallError("no network"), "X's environment could not be made: no network"),
        (
            PermissionError(13, "Permission denied"),
            "X's environment cannot be stored in /x: [Errno 13] Permission denied; "
            "XDG_CACHE_HOME names another place",
        ),
    ],
)
def test_a_failed_installation_ends_with_one_sentence(error: Exception, sentence: str) -> None:
    with pytest.raises(SystemExit) as ended, pinned_venv.exit_on_failure("X's environment", Path("/x")):
        raise error
    assert ended.value.code == sentence
