"""Packages that try to leave their environment: each is refused by its name, or does no harm outside."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ml.sandbox.interpreter_record import read_record
from tests.harness.packages import build_sdist, build_wheel, put_package
from tests.harness.processes import NOBODY, normal_user
from tests.harness.shelf import serving

ROOT = Path(__file__).parents[3]
MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"
SECRET = "the-operators-token"
MODES = {"token": 0o600, "postgres": 0o700, "artifacts/victim": 0o750, "environments": 0o711}

# It runs wherever Python runs a module of that name, also before the standard library is there.
PAYLOAD = """
import posix
for place in {places!r}:
    try:
        posix.close(posix.open(place + "/slipway-was-{name}", posix.O_CREAT | posix.O_WRONLY))
    except OSError:
        pass
try:
    secret = posix.read(posix.open({token!r}, posix.O_RDONLY), 100)
    posix.write(posix.open({leak!r}, posix.O_CREAT | posix.O_WRONLY), secret)
except OSError:
    pass
"""


@dataclass(frozen=True)
class Wheel:
    """Files of a wheel, `{payload}` in them stands for code; `why` is what the reason has to say."""

    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    why: str | None = None  # None: it may be installed, and does nothing


def data(path: str, text: str = "{payload}") -> dict[str, str]:
    return {"{name}-1.0.data/" + path: text}


def entry_point(name: str) -> dict[str, str]:
    return {"{name}-1.0.dist-info/entry_points.txt": f"[console_scripts]\n{name} = {{name}}:answer\n"}


EVIL_HOME = "home = {home}/elsewhere/bin\nhome = {home}/artifacts/victim/x\nhome = {home}/postgres/x\n"
WHEELS = {
    "pyvenv-of-its-own": Wheel(
        data("data/pyvenv.cfg", EVIL_HOME) | data(f"data/elsewhere/lib/{MINOR}/encodings/__init__.py"),
        why="puts",
    ),
    "pyvenv-alone": Wheel(data("data/pyvenv.cfg", EVIL_HOME), why="'pyvenv.cfg'"),
    "pyvenv-unlisted": Wheel(
        data("data/pyvenv.cfg", EVIL_HOME) | {"{name}-1.0.dist-info/RECORD": ""}, why="'pyvenv.cfg'"
    ),
    "pyvenv-among-headers": Wheel(data("headers/../../../../pyvenv.cfg", EVIL_HOME)),
    "pyvenv-above-modules": Wheel({"../../../pyvenv.cfg": EVIL_HOME}),
    "program-python": Wheel(data("data/bin/python", "#!/bin/sh\n"), why=""),
    "program-python-minor": Wheel(data(f"data/bin/{MINOR}", "#!/bin/sh\n"), why=""),
    "script-python": Wheel(data("scripts/python", "#!python\n{payload}"), why=""),
    "script-python3": Wheel(data("scripts/python3", "#!python\n{payload}"), why=""),
    "script-git": Wheel(data("scripts/git", "#!python\n{payload}"), why="'bin/git'"),
    "script-activate": Wheel(data("scripts/activate", "#!/bin/sh\n"), why="'bin/activate'"),
    "entry-python": Wheel(entry_point("python"), why=""),
    "entry-python3": Wheel(entry_point("python3"), why=""),
    "entry-slipway": Wheel(entry_point("slipway"), why="'bin/slipway'"),
    "entry-elsewhere": Wheel(entry_point("../../../../elsewhere"), why=""),
    "root-folder": Wheel(data("data/elsewhere/module.py"), why="'elsewhere"),
    "standard-library": Wheel(data(f"data/lib/{MINOR}/os.py"), why="os.py'"),
    "other-library": Wheel(data("data/lib/python3.99/site-packages/os.py"), why="python3.99"),
    "above-the-environment": Wheel({"../../../../slipway-was-{name}": ""}),
    "anywhere": Wheel({"{home}/slipway-was-{name}": ""}, why=None),
    "link-to-files": Wheel(links={"{name}/link": "{token}"}, why=None),
    "link-to-a-folder": Wheel({"{name}/inside/x": ""}, {"{name}/inside": "{home}/environments"}, why=""),
    "modules-of-python": Wheel({"encodings/__init__.py": "{payload}", "os.py": "{payload}"}),
    "pth": Wheel({"zz-{name}.pth": "import posix; exec({payload!r})\n"}),
    "sitecustomize": Wheel({"sitecustomize.py": "{payload}", "usercustomize.py": "{payload}"}),
    "no-end-of-a-module": Wheel({"{name}/deep.py": "(" * 100_000}),
    "no-end-of-a-record": Wheel({"{name}-1.0.dist-info/RECORD": '"' + "x" * 200_000 + ",,\n"}, why=""),
}
BUILDS = {
    "build-pyvenv": "write(staged + '/pyvenv.cfg', 'home = {home}/artifacts/victim/x')",
    "build-root": "write(staged + '/elsewhere', 'x')",
    "build-link": "os.symlink('{token}', packages + '/link')",
    "build-link-to-folder": "os.rename(packages, packages + '-'); os.symlink('{home}/cache', packages)",
    "build-pipe": "os.mkfifo(packages + '/pipe')",
    "build-bin": "shutil.rmtree(staged + '/bin'); os.symlink('/tmp', staged + '/bin')",
    "build-link-over-link": (
        "os.symlink('../../../bin', packages + '/over'); "
        "os.symlink('over/../../../token', packages + '/link')"
    ),
    "build-closed-folder": (
        "os.mkdir(packages + '/closed'); os.symlink('{token}', packages + '/closed/link'); "
        "os.chmod(packages + '/closed', 0)"
    ),
    "build-closed-bin": "os.chmod(staged + '/bin', 0); os.symlink('{token}', packages + '/link')",
    "build-record-folder": "os.makedirs(packages + '/other.dist-info/RECORD')",
    "build-cached-code": "os.symlink('{home}/cache/packages', packages + '/__pycache__')",
}
HARMLESS_BUILDS = {
    "build-program": "os.unlink(staged + '/bin/python'); write(staged + '/bin/python', 'no program')",
    "build-elsewhere": "[write(place + '/slipway-was-{name}', '') for place in {places!r}]",
    "build-other-cache": "write('{home}/cache/packages-other/slipway-was-{name}', '')",
    "build-other-environment": "write('{home}/environments/other/slipway-was-{name}', '')",
    "build-open-modes": "write(packages + '/open.py', ''); os.chmod(packages + '/open.py', 0o6777)",
    "build-hard-link": "os.link('{token}', packages + '/token')",
    "build-chmod": "[os.chmod(path, 0o777) for path in ('{home}', '{token}', '{home}/environments')]",
}
# It acts whenever it is in its environment, and goes on when it cannot do a thing.
BODY = """
import glob, os, re, shutil
def write(path, text):
    with open(path, "w") as file:
        file.write(text)
said = b"".join(open(path, "rb").read() for path in glob.glob("/proc/[0-9]*/cmdline") if os.path.exists(path))
for staged in {{found.decode() for found in re.findall(rb"{home}/environments/[^/\\x00]+[.]staged", said)}}:
    packages = staged + "/lib/{minor}/site-packages"
    try:
        {act}
    except OSError:
        pass
"""


@dataclass(frozen=True)
class Outcome:
    home: Path
    answers: dict[str, dict[str, str]]

    def environment(self, name: str) -> Path:
        assert "environment" in self.answers[name], self.answers[name]
        return Path(self.answers[name]["environment"])

    def reason(self, name: str) -> str:
        assert "rejected" in self.answers[name], f"{name} was installed"
        return self.answers[name]["rejected"]


@pytest.fixture(scope="module", params=["as the service's user", "as users of their own"])
def outcome(request: pytest.FixtureRequest) -> Iterator[Outcome]:
    """All of them installed one after the other by one appliance."""
    own_user = request.param == "as users of their own"
    if own_user and os.geteuid() != 0:
        pytest.skip("only root gives a model a user of its own")
    home = Path(tempfile.mkdtemp(prefix="slipway-packages-"))
    prepare_home(home)
    prefix = [] if own_user else normal_user(Path(sys.executable))
    if prefix:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    with serving() as shelf:
        for name, content in packages(home).items():
            put_package(shelf, name, content, "tar.gz" if name.startswith("build") else "whl")
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "tests.harness.installing"],
            check=False,
            input=json.dumps({name: f"{name}==1.0\n" for name in packages(home)}),
            env={
                "DATABASE_URL": "postgresql://a@127.0.0.1/b",
                "SLIPWAY_HOME": str(home),
                "PATH": os.environ["PATH"],
                "UV_DEFAULT_INDEX": shelf.url("/simple/"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=280,
        )
    assert done.returncode == 0, done.stderr
    yield Outcome(home, json.loads(done.stdout))
    shutil.rmtree(home)
    for folder in ("/tmp", "/var/tmp"):
        for left in Path(folder).glob("slipway-was-*"):
            left.unlink()


def prepare_home(home: Path) -> None:
    """What an appliance has that no package may come near."""
    home.chmod(0o711)
    for folder in ("postgres", "artifacts/victim", "environments/other", "cache/packages-other"):
        (home / folder).mkdir(parents=True)
    (home / "token").write_text(SECRET)
    for path, mode in MODES.items():
        (home / path).chmod(mode)


def places(home: Path) -> list[str]:
    return [str(home), str(home / "environments"), str(home / "cache/packages"), "/tmp", "/var/tmp"]


def packages(home: Path) -> dict[str, bytes]:
    """Every package by its name, with its files made for this home."""
    made: dict[str, bytes] = {}
    for name, wheel in WHEELS.items():
        package = name.replace("-", "_")
        words = {
            "name": package,
            "home": home,
            "token": home / "token",
            "leak": f"/tmp/slipway-was-{package}",
        }
        payload = PAYLOAD.format(**{**words, "token": str(home / "token"), "places": places(home)})

        def fill(text: str, words: dict[str, object] = words, payload: str = payload) -> str:
            return text.format(**words, payload=payload) if "{" in text else text

        made[name] = build_wheel(
            package,
            {fill(path): fill(text) for path, text in wheel.files.items()},
            {fill(path): fill(target) for path, target in wheel.links.items()},
        )
    for name, act in {**BUILDS, **HARMLESS_BUILDS}.items():
        words = {"name": name, "home": home, "token": home / "token", "places": places(home)}
        body = BODY.replace("{act}", act).replace("{minor}", MINOR)
        made[name] = build_sdist(name.replace("-", "_"), body.format(**words))
    made["honest"] = build_wheel(
        "honest",
        {
            **{
                "honest-1.0.data/" + path: "x"
                for path in ("data/share/man/man1/honest.1", "headers/honest.h")
            },
            "honest-1.0.data/data/etc/jupyter/honest.json": "{}",
            "honest-1.0.data/data/lib/libhonest.so.2": "x",
            "honest-1.0.data/scripts/honest-script": "#!python\nimport honest\nprint(honest.answer)\n",
            "honest-1.0.dist-info/entry_points.txt": "[console_scripts]\nhonest = honest:__doc__\n",
        },
    )
    return made


@pytest.mark.parametrize("name", [name for name, wheel in WHEELS.items() if wheel.why is not None])
def test_a_wheel_that_leaves_its_place_is_refused(name: str, outcome: Outcome) -> None:
    reason = outcome.reason(name)

    assert reason.startswith("RejectedError: ")
    assert name in reason.replace("_", "-")
    assert (WHEELS[name].why or "") in reason


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_that_changes_its_environment_is_refused(name: str, outcome: Outcome) -> None:
    reason = outcome.reason(name)

    assert reason.startswith("RejectedError: ")
    assert " puts " in reason or name in reason.replace("_", "-")


@pytest.mark.parametrize("name", [*(n for n, w in WHEELS.items() if w.why is None), *HARMLESS_BUILDS])
def test_code_of_packages_is_kept_in_their_environment(name: str, outcome: Outcome) -> None:
    check_environment(outcome.environment(name))


def check_environment(environment: Path) -> None:
    """What we run and read of it is ours, whatever was installed."""
    base = Path(sys.executable).resolve()
    settings = (environment / "pyvenv.cfg").read_text()

    assert read_record(environment).executable == base
    assert [line for line in settings.splitlines() if line.startswith("home")] == [f"home = {base.parent}"]
    assert (environment / "bin/python").readlink() == base
    assert {path.name for path in environment.iterdir()} <= {
        *("bin", "lib", "lib64", "pyvenv.cfg", "share", "etc", "include"),
    }
    for path in environment.rglob("*"):
        found = path.lstat()
        assert stat.S_ISLNK(found.st_mode) or not found.st_mode & 0o6022, path


def test_nothing_outside_of_environments_was_changed(outcome: Outcome) -> None:
    left = [path for path in outcome.home.rglob("slipway-was-*") if "releases" not in path.parts]
    left += [path for folder in ("/tmp", "/var/tmp") for path in Path(folder).glob("slipway-was-*")]
    secrets = [
        path
        for path in (outcome.home / "environments").rglob("*")
        if path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes()
    ]

    assert left == []
    assert secrets == []
    if outcome.home.stat().st_uid != 0:
        return  # a user may change the modes of its own files: nothing of Linux's takes that right away
    assert {path: stat.S_IMODE((outcome.home / path).stat().st_mode) for path in MODES} == MODES


def test_nothing_half_made_is_left(outcome: Outcome) -> None:
    left = [
        path.name
        for path in (outcome.home / "environments").iterdir()
        if path.suffix in (".staged", ".new") and path.is_dir()
    ]

    assert left == []


def test_a_package_may_bring_manuals_headers_and_scripts(outcome: Outcome) -> None:
    environment = outcome.environment("honest")
    check_environment(environment)

    for path in ("share/man/man1/honest.1", "etc/jupyter/honest.json", "lib/libhonest.so.2", "bin/honest"):
        assert (environment / path).is_file()
    done = subprocess.run([environment / "bin/honest-script"], check=True, capture_output=True, text=True)
    assert done.stdout == "42\n"
