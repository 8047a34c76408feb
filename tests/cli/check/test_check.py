"""`slipway init` and `slipway check`: a model on one's own machine, with no service and no database."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.check.conftest import MAIN, TOML, Slipway, git, is_refused
from tests.harness.processes import NOBODY, normal_user
from tests.ml.environments.test_own_projects import NAMED, project


def contents(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder, with its mode, its size and when it was changed."""
    paths = [folder, *folder.rglob("*")]
    found = {str(path): path.lstat() for path in paths}
    return {path: (stat.st_mode, stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def test_a_new_repository_passes(slipway: Slipway, tmp_path: Path, home: Path) -> None:
    assert slipway("init", "rentals").returncode == 0
    before = contents(tmp_path / "rentals")
    done = slipway("check", "rentals")

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[lines.index("test") + 1 : lines.index("data")][0] == "  pytest -q"
    assert "3 passed" in (home / "check/releases/1/logs/test.log").read_text()
    assert "metrics" in lines
    assert any(line.startswith("  MAE  ") for line in lines)
    assert "  temperature  number, from -30, to 50" in lines
    assert any(line.startswith('  curl -d \'{"temperature":') for line in lines)
    assert lines[-1].endswith("rentals can be merged")
    assert contents(tmp_path / "rentals") == before


def test_a_test_of_the_repository_that_fails_is_a_failure(slipway: Slipway, tmp_path: Path) -> None:
    slipway("init", "rentals")
    tests = tmp_path / "rentals/tests/test_model.py"
    tests.write_text(tests.read_text().replace('["MAE"] < 60', '["MAE"] < 1'))
    done = slipway("check", "rentals")

    assert done.returncode == 1
    assert "FAILED tests/test_model.py::test_the_error_is_small" in done.stdout
    assert done.stderr.startswith("slipway: rentals/tests/test_model.py:25: [test] command ended with code 1")
    main = tmp_path / "rentals/main.py"
    main.write_text(main.read_text().replace("forest = Random", "raise ValueError()\n        Random"))
    done = slipway("check", "rentals")

    assert done.returncode == 1
    assert done.stderr.startswith("slipway: rentals/main.py:22: [test] command ended with code 2")


def test_a_broken_train_is_named_by_its_line(slipway: Slipway, sevens: Path) -> None:
    broken = MAIN.replace('return b"seven"', 'print("training")\n        raise ValueError("no rows")')
    (sevens / "main.py").write_text(broken)
    done = slipway("check", sevens)

    is_refused(done, f"{sevens}/main.py:4: train() raised ValueError: no rows")
    assert "  training\n" in done.stdout


def test_a_rule_of_the_gate_that_breaks_names_no_line(slipway: Slipway, sevens: Path) -> None:
    caught = "import traceback\n        try: 1 / 0\n        except ArithmeticError: traceback.print_exc()\n"
    worse = MAIN.replace('return {"MAE": 0.25}', f'{caught}        return {{"MAE": 2.0}}')
    (sevens / "main.py").write_text(worse)

    is_refused(slipway("check", sevens), "slipway: MAE 2.000, has to be at most 1.000")


def test_a_worker_that_fails_is_named_by_its_line(slipway: Slipway, sevens: Path) -> None:
    """It fails after all stages: when the model is loaded, or asked for the first time."""
    (sevens / "main.py").write_text(MAIN.replace("return [model", "raise KeyError(3)\n        return [model"))
    done = slipway("check", sevens)
    is_refused(done, f"slipway: {sevens}/main.py:9: ", "predict() raised KeyError: 3 (features: 1,")
    loads = '    def load(self, model):\n        raise OSError("no file")\n\n'
    (sevens / "main.py").write_text(MAIN.replace("    def predict", f"{loads}    def predict"))
    is_refused(slipway("check", sevens), f"slipway: {sevens}/main.py:9: load() raised OSError: no file")


def test_what_would_be_committed_is_checked(slipway: Slipway, sevens: Path) -> None:
    """An uncommitted change counts, and so does a tracked file that is ignored; another ignored one not."""
    (sevens / ".gitignore").write_text("data/\n*.log\n")
    git(sevens, "init")
    git(sevens, "add", "--force", "data", ".")
    git(sevens, "commit", "--message", "First")
    (sevens / "training.log").write_text("large")
    looks = 'import os\n        return {"MAE": 0.5, "files": len(os.listdir())}'
    (sevens / "main.py").write_text(MAIN.replace('return {"MAE": 0.25}', looks))
    (sevens / "new.py").write_text("")
    (sevens / "requirements.txt").unlink()
    (sevens / "requirements.txt").write_text("\n")
    before = contents(sevens)
    done = slipway("check", cwd=sevens)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "evaluate\n  MAE 0.500, files 6.000" in done.stdout  # data, main.py, new.py, and three more
    assert "  integer" in done.stdout.splitlines()
    assert contents(sevens) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a plain user already")
def test_a_plain_user_needs_no_rights(slipway: Slipway, sevens: Path) -> None:
    open_folder = Path(tempfile.mkdtemp(prefix="slipway-check-"))
    try:
        shutil.copytree(sevens, open_folder / "sevens")
        for path in (open_folder, *open_folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        prefix = tuple(normal_user(Path(sys.executable)))
        done = slipway(
            "check", "sevens", cwd=open_folder, prefix=prefix, SLIPWAY_HOME="home", HOME=str(open_folder)
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert {path.lstat().st_uid for path in (open_folder / "home").rglob("*")} == {NOBODY}
    finally:
        shutil.rmtree(open_folder)


def link_out(sevens: Path) -> None:
    (sevens / "secrets").symlink_to("/etc/passwd")


def link_up(sevens: Path) -> None:
    (sevens / "data/up").symlink_to("../../..")


def pipe(sevens: Path) -> None:
    os.mkfifo(sevens / "data/.gitignore")


def pipe_as_git(sevens: Path) -> None:
    os.mkfifo(sevens / ".git")
    (sevens / "main.py").unlink()


def huge(sevens: Path) -> None:
    with (sevens / "data/huge.bin").open("wb") as file:
        file.truncate(1 << 40)


def deep(sevens: Path) -> None:
    place = os.open(sevens, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)


def names_without_end(sevens: Path) -> None:
    place = os.open(sevens, os.O_RDONLY)
    for _ in range(15):
        os.mkdir("d" * 250, dir_fd=place)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    for number in range(18_000):
        os.close(os.open(str(number), os.O_CREAT, dir_fd=place))
    os.close(place)


def nested_repository(sevens: Path) -> None:
    (sevens / "lib").mkdir()
    git(sevens / "lib", "init")
    git(sevens / "lib", "commit", "--allow-empty", "--message", "Theirs")


HOSTILE = {
    "a link out of it": (link_out, "secrets is a symbolic link to /etc/passwd"),
    "a link above it": (link_up, "data/up is a symbolic link"),
    "a pipe that git reads": (pipe, "data/.gitignore is a pipe, a socket or a device"),
    "a pipe in place of .git": (pipe_as_git, "the repository has no main.py"),
    "a huge file": (huge, "with data/huge.bin the files are larger than 8 GiB"),
    "folders without end": (deep, "lies more than 100 folders deep"),
    "names without end": (names_without_end, "the names of its files take more than 64 MiB"),
    "a repository inside": (nested_repository, "lib is a git submodule"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tree_is_refused_in_a_sentence(name: str, slipway: Slipway, sevens: Path) -> None:
    make, sentence = HOSTILE[name]
    make(sevens)
    try:
        is_refused(slipway("check", sevens), sentence)
    finally:
        subprocess.run(["rm", "-rf", str(sevens / "d")], check=True)  # too deep for what removes tmp_path


def test_no_configuration_of_the_repository_runs(slipway: Slipway, sevens: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    program.chmod(0o755)
    (sevens / ".gitattributes").write_text("*.py filter=evil\n")
    git(sevens, "init")
    for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "core.sshCommand"):
        git(sevens, "config", key, str(program))
    shutil.copy(program, sevens / ".git/hooks/post-index-change")
    done = slipway("check", sevens)

    assert done.returncode == 0, done.stdout + done.stderr
    assert not ran.exists()


def test_what_no_commit_holds_is_passed_over(slipway: Slipway, sevens: Path) -> None:
    os.mkfifo(sevens / "data/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sevens / "data/socket"))
    (sevens / "data/closed").mkdir(mode=0)
    done = slipway("check", sevens)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 files" in done.stdout


def test_the_home_never_lies_in_the_working_tree(slipway: Slipway, sevens: Path, tmp_path: Path) -> None:
    before = contents(sevens)
    is_refused(slipway("check", cwd=sevens, SLIPWAY_HOME="inside"), "lies in the working tree")
    done = slipway("check", cwd=sevens, SLIPWAY_HOME="", XDG_CACHE_HOME=str(tmp_path / "cache"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "cache/slipway-check/check/releases/1").is_dir()
    assert contents(sevens) == before


def test_no_setting_comes_from_the_working_tree(slipway: Slipway, sevens: Path, tmp_path: Path) -> None:
    """A setting could name files of the person as data, or a folder to write in."""
    private = tmp_path / "private"
    (private / "sevens").mkdir(parents=True)
    (private / "sevens/train.csv").write_text("a,b\n1,2\n")
    (sevens / ".slipway").symlink_to(private)
    (sevens / ".env").write_text(f"SLIPWAY_DATA={private}\nSLIPWAY_HOME={private}\nSLIPWAY_MEMORY=none\n")
    (sevens / "data/train.csv").unlink()
    (sevens / "slipway.toml").unlink()
    before = contents(private)

    is_refused(slipway("check", cwd=sevens), "there is no train data", "SLIPWAY_DATA")
    assert contents(private) == before
    (sevens / "slipway.toml").write_text(TOML.replace("data/train.csv", "train.csv"))
    is_refused(slipway("check", cwd=sevens), "train.csv")
    (sevens / "slipway.toml").write_text(TOML.replace("data/train.csv", f"file://{private}/sevens/train.csv"))
    is_refused(slipway("check", cwd=sevens), "train.csv")
    assert slipway("check", cwd=sevens, SLIPWAY_DATA=str(private)).returncode == 0


@pytest.mark.parametrize("name", ["two words", "line\nend", "-x", "Ünïcode", "$(reboot)", "\udcff"])
def test_a_folder_may_have_any_name(name: str, slipway: Slipway, sevens: Path) -> None:
    done = slipway("check", "--", name, cwd=sevens.rename(sevens.with_name(name)).parent)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_link_to_a_folder_is_followed(slipway: Slipway, sevens: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sevens)
    assert slipway("check", "link").returncode == 0
    (sevens / "main.py").write_text("def (")
    is_refused(slipway("check", "link"), "slipway: main.py", "line 1")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[data\n", "slipway.toml is not TOML"),
        ("[gate]\nMAE = { bettr = 1 }\n", "gate.MAE.bettr: is not a known key"),
        ('[data]\ntrain = "data/none.csv"\n', "data/none.csv"),
        ('[model]\nentry_point = "other:entry_point"\n', "other.py"),
    ],
)
def test_a_broken_manifest_is_a_sentence(text: str, sentence: str, slipway: Slipway, sevens: Path) -> None:
    (sevens / "slipway.toml").write_text(text)

    is_refused(slipway("check", sevens), sentence)


def test_no_folder_is_a_sentence(slipway: Slipway) -> None:
    is_refused(slipway("check", "nowhere"), "nowhere is no folder")
    is_refused(slipway("check"), ". has neither main.py nor slipway.toml")


def test_a_folder_of_a_repository_is_checked_with_what_it_uses(
    slipway: Slipway, sevens: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    folder = repository / "models/sevens"
    folder.parent.mkdir(parents=True)
    sevens.rename(folder)
    library = project("libs/ours/", NAMED, "")
    for name, text in library.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    (repository / ".gitignore").write_text("ignored.txt\n")
    (folder / "ignored.txt").write_text("")
    (folder / "requirements.txt").write_text("-e ../../libs/ours\n")
    (folder / "main.py").write_text(f"import ours\nassert open('../../libs/ours/backend.py')\n{MAIN}")
    git(repository, "init", "--quiet")

    done = slipway("check", "models/sevens", "--paths", "libs/ours", cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr
    is_refused(slipway("check", "models/sevens", cwd=repository), "requirements.txt names ../../libs/ours")
    is_refused(slipway("check", "models/sevens", "--paths", "../x", cwd=repository), "--paths: '../x' is not")
    done = slipway(
        "check", "libs/ours", "--paths", "libs", cwd=shutil.copytree(repository, tmp_path / "copy")
    )
    is_refused(done, "has neither main.py nor slipway.toml")
    shutil.rmtree(tmp_path / "copy/.git")
    done = slipway("check", "models/sevens", "--paths", "libs/ours", cwd=tmp_path / "copy")
    is_refused(done, "lies in no git repository, of which --paths could name other parts")

    (folder / "main.py").write_text(f"import ours\nimport boom\n{MAIN}")
    (folder / "boom.py").write_text("raise ValueError('boom')\n")
    done = slipway("check", "models/sevens", "--paths", "libs/ours", cwd=repository)
    assert "slipway: models/sevens/boom.py:1: " in done.stderr
