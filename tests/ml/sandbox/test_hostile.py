"""Models that mean harm: each is stopped, named in its release where that ends it, and leaves nothing."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import uv
from pydantic import ValidationError

from cli.up.postgres import Postgres
from common.errors import RejectedError
from db.states import Status
from ml.builder import training
from ml.environments.interpreters import own_interpreter
from ml.runtime.invoke import OUTPUT_FILES, ModelRuntime
from ml.sandbox.confine import landlock
from ml.sandbox.interpreter_record import write_record
from ml.sandbox.sandbox import Sandbox
from ml.settings import MlSettings
from ml.sources.datasets import DataSet
from tests.harness.packages import build_sdist, build_wheel
from tests.harness.processes import NOBODY, mentioning, normal_user
from tests.ml.conftest import CACHE, Appliance
from tests.ml.serving.conftest import make_shop  # noqa: F401
from tests.ml.serving.support import Shop, main_py
from tests.models import files, working

ROOT = Path(__file__).parents[3]
SECRET = "the-databases-password"
MIB = 1 << 20


@dataclass
class Bench:
    """Trains a model in the sandbox; the process that asks is a builder's stand-in, secrets and all."""

    home: Path
    environment: Path
    prefix: list[str]
    url: str

    def train(self, body: str, head: str = "", **limits: int) -> dict[str, Any]:
        """`{"artifact": what train() gave}` or `{"rejected": reason}`."""
        main = files(head="import json, os, sys\n" + head, train=body)["main.py"]
        asked = {"environment": str(self.environment), "main": main, "limits": limits}
        variables = {"DATABASE_URL": self.url, "SLIPWAY_HOME": str(self.home), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            [*self.prefix, sys.executable, "-m", "tests.harness.bench"],
            check=False,
            input=json.dumps(asked),
            env=variables | {"PYTHONDONTWRITEBYTECODE": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @property
    def log(self) -> str:
        return (self.home / "releases/1/logs/train.log").read_text()


@pytest.fixture(scope="session")
def bare_environment() -> Path:
    """A virtual environment with nothing in it."""
    folder = CACHE / "environments" / f"bare-{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run(
        [uv.find_uv_bin(), "venv", "--quiet", "--allow-existing", "--python", sys.executable, folder],
        check=True,
    )
    write_record(folder, own_interpreter())
    return folder


@pytest.fixture(params=["as the service's user", "as a user of its own"])
def bench(request: pytest.FixtureRequest, bare_environment: Path, postgres: Postgres) -> Iterator[Bench]:
    """Both ways to hold a model; the second takes root."""
    own_user = request.param == "as a user of its own"
    if own_user and os.geteuid() != 0:
        pytest.skip("only root gives a model a user of its own")
    home = Path(tempfile.mkdtemp(prefix="slipway-hostile-"))
    (home / "postgres").mkdir(mode=0o700)
    (home / "postgres/password").write_text(SECRET)
    prefix = [] if own_user else normal_user(Path(sys.executable))
    if prefix:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    url = postgres.database_url().replace("postgres:", f"postgres:{SECRET}", 1)
    yield Bench(home, bare_environment, prefix, url)
    assert left_behind(home) == []
    shutil.rmtree(home)


def left_behind(home: Path) -> list[object]:
    """Processes of the model, and files that are neither ours nor in the folders that it may write in."""
    found: list[object] = [*mentioning(home)]
    kept = home / "users.json"
    numbers = json.loads(kept.read_text()).values() if kept.exists() else ()
    found += [p for p in psutil.process_iter(["uids"]) if p.info["uids"] and p.info["uids"].real in numbers]
    found += [
        path for place in ("/tmp", "/var/tmp", "/dev/shm") for path in Path(place).glob("slipway-was-*")
    ]
    found += {path.name for path in home.iterdir()} - {"postgres", "releases", "users.json", "users.lock"}
    folder = home / "releases/1"
    if not folder.exists():  # the test was skipped before it began
        return found
    found += {path.name for path in folder.iterdir()} - {"logs", "scratch", "source", "train.new"}
    found += {path.name for path in (folder / "train.new").iterdir()} - {*OUTPUT_FILES}
    found += [path for path in folder.rglob("*") if path.stat().st_size > 20 * MIB]
    return found


PEEK = """
    import ctypes, glob, signal, socket
    def look(name, function):
        try:
            seen[name] = repr(function())[:4000]
        except BaseException as error:
            refused.append(name)
    def read(path):
        return lambda: open(path, "rb").read(100000)
    def parent(process):
        return int(open(f"/proc/{process}/stat").read().rpartition(")")[2].split()[1])
    seen, refused, above = {}, [], [os.getppid()]
    while above[-1] > 1:
        above.append(parent(above[-1]))
    for generation, process in enumerate(above[:2]):
        look(f"environ {generation}", read(f"/proc/{process}/environ"))
        look(f"memory {generation}", lambda: open(f"/proc/{process}/mem", "rb+"))
        look(f"end {generation}", lambda: os.kill(process, signal.SIGKILL))
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.environ["HOME"])))
    look("password", read(home + "/postgres/password"))
    look("shadow", read("/etc/shadow"))
    look("list home", lambda: os.listdir(home))
    look("root", lambda: os.setuid(0))
    source = os.path.dirname(sys.modules["main"].__file__)
    for place in (source, os.path.dirname(source), home, sys.prefix, "/tmp", "/var/tmp", LIBRARY):
        look("write " + place, lambda: open(place + "/slipway-was-here", "w"))
    look("append main.py", lambda: open("main.py", "a"))
    look("postgres", lambda: socket.create_connection(("127.0.0.1", PORT), 5))
    look("metadata", lambda: socket.create_connection(("169.254.169.254", 443), 5))
    look("UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)))
    libc = ctypes.CDLL(None, use_errno=True)
    def lasting(name, *arguments):
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), name)
    look("shared memory", lambda: lasting("shmget", 0, 4096, 0o1600))
    look("semaphores", lambda: lasting("semget", 0, 1, 0o1600))
    look("messages", lambda: lasting("msgget", 0, 0o1600))
    look("a queue", lambda: lasting("mq_open", b"/slipway-was-here", os.O_CREAT, 0o600, None))
    look("bind", lambda: socket.socket().bind(("127.0.0.1", 8000)))
    return json.dumps({"seen": seen, "refused": refused}).encode()
"""


def test_it_reads_no_secret_ends_no_process_and_writes_nowhere(bench: Bench, postgres: Postgres) -> None:
    if landlock.abi_version() < 6:
        pytest.skip("Landlock is older than 6")
    body = PEEK.replace("PORT", str(postgres.port)).replace("LIBRARY", repr(str(ROOT / "ml/model_host")))
    told = json.loads(bench.train(body)["artifact"])

    assert told["seen"] == {}
    assert len(told["refused"]) == 26
    assert SECRET not in bench.log


MEMORY = "return bytes(bytearray(8 << 30))"
FILE = 'open(os.environ["HOME"] + "/huge", "wb").truncate(100 << 30); return b""'
PROCESSES = """
    for _ in range(300):  # and no more, should there be no limit
        if os.fork() == 0:
            signal.pause()
"""


@pytest.mark.parametrize(
    ("body", "limits", "says"),
    [
        (
            MEMORY,
            {"memory": 300 * MIB},
            "train() raised MemoryError: it ran out of its memory limit of 0.293 GiB",
        ),
        (FILE, {"file_size": 64 * MIB}, "no file may be larger than 0.0625 GiB"),
        (PROCESSES, {"processes": 40}, "it ran out of its limit of 40 processes"),
        ("os._exit(0)", {}, "train() ended its process with code 0, without an answer"),
        ('open("main.py", "a")', {}, "the sandbox keeps that closed"),
    ],
    ids=["8 GiB of memory", "a file of 100 GiB", "a fork bomb", "os._exit", "its own source"],
)
def test_what_runs_into_a_limit_is_rejected_with_its_name(
    body: str, limits: dict[str, int], says: str, bench: Bench
) -> None:
    assert says in bench.train(body, head="import signal", **limits)["rejected"]


def test_it_may_leave_files_beside_itself(bench: Bench) -> None:
    body = """
        open("model.pkl", "w").write(open("main.py").read()[:6])
        return open("model.pkl", "rb").read()
    """
    assert bench.train(body) == {"artifact": "import"}
    assert [path.name for path in (bench.home / "releases/1/source").iterdir()] == ["main.py"]


CHILDREN = """
    for _ in range(8):
        if os.fork() == 0:
            kept = bytearray(os.urandom(1 << 20)) * 100
            time.sleep(60)
    time.sleep(60)
"""


def test_memory_is_counted_for_all_processes_of_a_model(bench: Bench) -> None:
    reason = bench.train(CHILDREN, head="import time", memory=400 * MIB)["rejected"]

    assert "it ran out of its memory limit of 0.391 GiB" in reason


DEEP = """
    os.chdir(os.environ["HOME"])
    for _ in range(2500):
        os.mkdir("down")
        os.chdir("down")
    raise ValueError("deep enough")
"""


def test_folders_without_end_are_taken_away(bench: Bench) -> None:
    assert "deep enough" in bench.train(DEEP)["rejected"]
    assert not (bench.home / "releases/1/scratch").exists()


MANY = """
    for number in range(10000):
        with open(os.environ["HOME"] + f"/{number}", "wb") as file:
            file.write(bytes(1 << 20))
        time.sleep(0.05)
"""


def test_many_files_that_fill_a_disk_together_are_counted(bench: Bench) -> None:
    reason = bench.train(MANY, head="import time", disk=32 * MIB)["rejected"]

    assert "train() was ended: its files hold more than 0.0312 GiB (twice SLIPWAY_FILE_SIZE)" in reason


UNLINKED = """
    sent, kept, full = socket.socketpair(), [], bytes(1 << 20)
    for _ in range(200):
        with open(os.environ["HOME"] + "/gone", "w+b", buffering=0) as file:
            os.unlink(file.name)
            for _ in range(4):
                file.write(full)
            KEEP
        time.sleep(0.02)
    time.sleep(20)
"""
UNSEEN = {
    "open": "kept.append(os.dup(file.fileno()))",
    "mapped": "kept.append(Mapping(file.fileno(), 4096))",
    "on their way": 'socket.send_fds(sent[0], [b"."], [file.fileno()])',
}
MAPPING = """import ctypes, socket, time
def Mapping(place, length):  # mmap's own keeps the descriptor
    found = ctypes.CDLL(None).mmap(None, ctypes.c_size_t(length), 1, 1, place, ctypes.c_long(0))
    assert found != -1
"""


@pytest.mark.parametrize("how", UNSEEN)
def test_files_that_no_folder_has_any_more_are_counted(how: str, bench: Bench) -> None:
    body = UNLINKED.replace("KEEP", UNSEEN[how])
    reason = bench.train(body, head=MAPPING, disk=32 * MIB)["rejected"]

    assert "train() was ended: its files hold more than 0.0312 GiB (twice SLIPWAY_FILE_SIZE)" in reason


def test_a_daemon_ends_with_the_training(bench: Bench) -> None:
    body = """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execvp("sleep", ["sleep", "4712"])
            os._exit(0)
        return b"done"
    """
    assert bench.train(body) == {"artifact": "done"}
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "4712"]]


@pytest.mark.parametrize("amount", [40, pytest.param(1024, marks=pytest.mark.soak)])
def test_what_it_prints_does_not_fill_the_disk(amount: int, bench: Bench) -> None:
    body = f"""
        for _ in range({amount}):
            os.write(1, b"spam and eggs..\\n" * 65536)
        return b"done"
    """
    assert bench.train(body) == {"artifact": "done"}
    assert len(bench.log) < 17 * MIB
    assert bench.log.endswith("[slipway: the log is cut here: it was too long]\n")


def test_links_in_the_place_of_its_answers_are_not_followed(bench: Bench) -> None:
    body = f"""
        folder = os.path.dirname(os.environ["HOME"]) + "/train.new"
        os.symlink({str(bench.home / "postgres/password")!r}, folder + "/artifact")
        open(folder + "/output.json", "w").write('{{"result": {{"bytes": 1}}}}')
        os._exit(0)
    """
    reason = bench.train(body)["rejected"]

    assert reason == "it left a link or a folder in the place of Slipway's artifact"


SPARSE = """
    folder = os.path.dirname(os.environ["HOME"]) + "/train.new"
    open(folder + "/artifact", "wb").truncate(6 << 30)
    open(folder + "/output.json", "w").write('{"result": {"bytes": 1}}')
    os._exit(0)
"""


def test_a_model_longer_than_its_memory_is_rejected(bare_environment: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/main.py").write_text(files(head="import os", train=SPARSE)["main.py"])
    held = Sandbox(tmp_path.resolve(), "one", None, 1 << 30, 16 << 30, 600, (443,), 32 << 30)
    room = ModelRuntime(bare_environment, tmp_path / "source", tmp_path / "scratch", held)
    data = DataSet(tmp_path / "source", "path", "", 0, "")
    kept = tmp_path / "artifacts/1"
    with pytest.raises(
        RejectedError, match=r"a model of 6 GiB, and no model may hold more memory than 1 GiB"
    ):
        training.train_model(
            room,
            "main:entry_point",
            data,
            output=tmp_path / "train",
            artifact=kept,
            log=tmp_path / "log",
            timeout=60,
        )

    assert not kept.exists()


TRAP = """
    import pickle, resource, signal, socket

    def spring():
        reached = ["its own code"]
        for name, act in {
            "network": lambda: socket.create_connection(("127.0.0.1", PORT), 5),
            "any socket": lambda: socket.socket(socket.AF_UNIX),
            "a pair that sends to anybody": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
            "limits of others": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)),
            "password": lambda: open(PASSWORD).read(),
            "write": lambda: open("/tmp/slipway-was-here", "w"),
            "parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
            "serve": lambda: open("/proc/SERVE/environ").read(),
        }.items():
            try:
                act()
                reached.append(name)
            except OSError:
                pass
        return reached

    class Trap:
        def __reduce__(self):
            return spring, ()
"""


def test_a_pickle_that_runs_code_reaches_nothing_from_the_worker(
    make_shop: Callable[..., Shop],  # noqa: F811
    postgres: Postgres,
) -> None:
    places = {
        "PORT": str(postgres.port),
        "PASSWORD": repr(str(postgres.password_file)),
        "SERVE": str(os.getpid()),
    }
    head = TRAP
    for name, value in places.items():
        head = head.replace(name, value)
    with make_shop().serving() as shop:
        shop.publish(main_py("return pickle.loads(pickle.dumps(Trap()))", head=head))
        answer = shop.predict("anything")

    assert answer.json()["prediction"] == ["its own code"]


def link(appliance: Appliance, name: str, target: str) -> str:
    repository = appliance.repository.write({**working.quick(), name: None})
    (repository.path / name).symlink_to(target)
    return repository.commit("A link")


def submodule(appliance: Appliance) -> str:
    repository = appliance.repository.write(working.quick())
    head = repository.commit("A model")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{head},vendored")
    repository.git("commit", "--quiet", "--message=A submodule")
    return repository.head


def deep(appliance: Appliance) -> str:
    """Deeper than the file system of a test would make it; an index takes it."""
    repository = appliance.repository.write(working.quick())
    repository.commit("A model")
    file = repository.git("rev-parse", "HEAD:main.py").strip()
    repository.git("update-index", "--add", "--cacheinfo", f"100644,{file},{'down/' * 700}file")
    repository.git("commit", "--quiet", "--message=Folders without end")
    return repository.head


REPOSITORIES: dict[str, tuple[Callable[[Appliance], str], str]] = {
    "main.py is a link to /etc/shadow": (
        lambda appliance: link(appliance, "main.py", "/etc/shadow"),
        "main.py is a symbolic link to /etc/shadow",
    ),
    "a link that climbs out": (
        lambda appliance: link(appliance, "data/train.csv", "../../../../../users.json"),
        "data/train.csv is a symbolic link to ../../../../../users.json",
    ),
    "folders without end": (deep, "lies more than 100 folders deep"),
    "a submodule": (submodule, "vendored is a git submodule"),
    "a requirement file outside": (
        lambda appliance: requiring(appliance, "-r ../../../../token"),
        "requirements.txt names ../../../../token: it may not use files outside",
    ),
    "a constraint file outside": (
        lambda appliance: requiring(appliance, "--constraint=/etc/passwd"),
        "requirements.txt names /etc/passwd",
    ),
    "a project outside": (
        lambda appliance: requiring(appliance, "peek @ file:///etc"),
        "requirements.txt names file:///etc",
    ),
    "an own interpreter": (
        lambda appliance: appliance.repository.write(
            {**working.quick(), ".python-version": "./python"}
        ).commit("An interpreter"),
        "it asks for Python './python'",
    ),
}


def requiring(appliance: Appliance, line: str) -> str:
    return appliance.repository.write({**working.quick(), "requirements.txt": line + "\n"}).commit("More")


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_tree_that_reaches_out_of_itself_is_rejected(name: str, appliance: Appliance) -> None:
    make, says = REPOSITORIES[name]
    commit = appliance.merge({}, commit=make(appliance))
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.REJECTED
    assert says in (release.reason or "")


@pytest.mark.parametrize(
    "variables",
    [
        {"SLIPWAY_BRANCH": "--upload-pack=touch /tmp/slipway-was-here"},
        {"SLIPWAY_CLONE_URL": "--upload-pack=touch /tmp/slipway-was-here"},
        {"SLIPWAY_CLONE_URL": "ext::sh -c touch% /tmp/slipway-was-here"},
    ],
)
def test_names_that_git_takes_for_options_are_refused_at_start(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1/none")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="is not"):
        MlSettings()  # type: ignore[call-arg]


BACKEND = """
import base64, glob, hashlib, json, os, urllib.request, zipfile

def build_wheel(folder, *_):
    said = []
    for place in [*glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline")]:
        try:
            said.append(open(place, "rb").read().decode("latin-1"))
        except OSError:
            pass
    for place in (os.environ["HOME"], os.getcwd(), os.environ.get("UV_CACHE_DIR", "/nowhere")):
        for found, _, names in os.walk(place):
            for name in names:
                try:
                    said.append(open(os.path.join(found, name), "rb").read().decode("latin-1"))
                except OSError:
                    pass
    name = "nosy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("nosy/__init__.py", "")
        wheel.writestr("nosy/said.json", json.dumps(said))
        wheel.writestr("nosy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: nosy\\nVersion: 1.0\\n")
        wheel.writestr("nosy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("nosy-1.0.dist-info/RECORD", "")
    return name
"""
LOGIN, PASSWORD = "reader", "index-password-4711"


@pytest.fixture
def private_index() -> Iterator[str]:
    """The address, without the login that it asks for: one package as a wheel, one that has to be built."""
    held = {
        "/files/nosy-1.0.tar.gz": build_sdist("nosy", backend=BACKEND),
        "/files/inhouse-1.0-py3-none-any.whl": build_wheel("inhouse"),
    }
    pages = {f"/simple/{Path(name).name.partition('-')[0]}/": name for name in held}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
            status, kind, body = 404, "text/plain", b""
            if self.headers.get("Authorization") != f"Basic {login}":
                status = 401
            elif self.path in held:
                status, kind, body = 200, "application/octet-stream", held[self.path]
            elif self.path in pages:
                file = pages[self.path]
                status, kind = 200, "text/html"
                body = f'<html><body><a href="../..{file}">{Path(file).name}</a></body></html>'.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 (the name that the base class looks for)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}/simple/"
    server.shutdown()
    server.server_close()


def test_what_is_built_for_a_model_never_sees_the_indexes_login(
    private_index: str, make_appliance: Callable[..., Appliance], tmp_path: Path, shared_home: Path
) -> None:
    for name in ("environments", "cache"):
        (shared_home / name).unlink()  # an environment that another run has made would prove nothing
    appliance = make_appliance(UV_DEFAULT_INDEX=f"http://{LOGIN}:{PASSWORD}@{private_index}")
    built = appliance.merge({**working.quick(), "requirements.txt": "nosy\ninhouse\n"})
    appliance.settle()

    release = appliance.release(built)
    assert "pandas" in (release.reason or "")  # the environment was made; the data could not be read
    said = next(shared_home.glob("environments/*/lib/python*/site-packages/nosy/said.json")).read_text()
    everything = said + "".join(
        path.read_text(errors="replace") for path in (shared_home / "releases").rglob("*") if path.is_file()
    )
    assert "UV_DEFAULT_INDEX" in said
    assert PASSWORD not in everything
    assert base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode() not in everything


def test_a_wrong_index_login_is_named_without_the_password(
    private_index: str, make_appliance: Callable[..., Appliance], shared_home: Path
) -> None:
    for name in ("environments", "cache"):
        (shared_home / name).unlink()
    appliance = make_appliance(UV_DEFAULT_INDEX=f"http://{LOGIN}:not-{PASSWORD}@{private_index}")
    commit = appliance.merge({**working.quick(), "requirements.txt": "inhouse\n"})
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.REJECTED
    assert "inhouse" in (release.reason or "")
    assert PASSWORD not in (release.reason or "") + appliance.log(release, "environment")
