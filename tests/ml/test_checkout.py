"""The tree of a commit, also after a git that was killed in the midst of its work."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from ml.errors import Rejected
from ml.settings import Model
from ml.stagelog import Say, silent
from ml.stages import checkout
from tests.models import working
from tests.support.repositories import ModelRepository
from tests.support.waiting import wait_until

FETCHING = """
import sys
from pathlib import Path
from ml.settings import Model
from ml.stages import checkout
folder, url, commit = Path(sys.argv[1]), *sys.argv[2:]
model = Model("web-traffic", "acme/web-traffic", url, "main")
checkout.fetch(model, commit, clone=folder / "clone.git", into=folder / "1" / "source")
"""


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "model")


def fetched(
    repository: ModelRepository, commit: str, folder: Path, into: str = "1", say: Say = silent
) -> Path:
    model = Model("web-traffic", "acme/web-traffic", repository.url, repository.branch)
    place = {"clone": folder / "clone.git", "into": folder / into / "source"}
    return checkout.fetch(model, commit, **place, say=say)


def git(clone: Path, *arguments: str, given: bytes = b"") -> str:
    command = ["git", "--git-dir", clone, *arguments]
    return subprocess.run(command, check=True, capture_output=True, input=given).stdout.decode().strip()


def torn(repository: ModelRepository, commit: str, clone: Path) -> None:
    """What a fetch leaves that is killed while it writes objects: the commit and its folder, and no file."""
    subprocess.run(["git", "init", "--quiet", "--bare", clone], check=True)
    for kind, name in (("commit", commit), ("tree", f"{commit}^{{tree}}")):
        content = subprocess.run(
            ["git", "-C", repository.path, "cat-file", kind, name], check=True, capture_output=True
        ).stdout
        git(clone, "hash-object", "-w", "-t", kind, "--literally", "--stdin", given=content)
    assert git(clone, "cat-file", "-t", commit) == "commit"


def test_half_a_commit_is_fetched_again(repository: ModelRepository, tmp_path: Path) -> None:
    commit = repository.write(working.quick()).commit("First model")
    torn(repository, commit, tmp_path / "clone.git")
    assert (fetched(repository, commit, tmp_path) / "main.py").is_file()


def test_locks_of_a_git_that_was_killed_are_in_nobodys_way(
    repository: ModelRepository, tmp_path: Path
) -> None:
    first = repository.write(working.quick()).commit("First model")
    fetched(repository, first, tmp_path)
    second = repository.write(working.quick(smape=0.2)).commit("Second model")
    clone = tmp_path / "clone.git"
    for lock in (clone / "shallow.lock", clone / "refs" / "commits" / f"{second}.lock"):
        lock.touch()
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "index.lock").touch()
    assert (fetched(repository, second, tmp_path, "2") / "main.py").is_file()
    assert git(clone, "rev-list", "--all", "--count") == "2"  # each by itself, not the whole branch


@pytest.mark.parametrize("pause", [0, 0.01, 0.02, 0.04])
def test_a_fetch_may_be_killed_at_any_moment(
    pause: float, repository: ModelRepository, tmp_path: Path
) -> None:
    """These seconds after it has made the clone; the next one brings all."""
    files = {f"more/{number}.bin": os.urandom(20_000) for number in range(40)}
    commit = repository.write({**working.quick(), **files}).commit("First model")
    fetching = [sys.executable, "-c", FETCHING, str(tmp_path), repository.url, commit]
    process = subprocess.Popen(fetching, process_group=0)
    wait_until((tmp_path / "clone.git" / "HEAD").exists, 60, "it has begun")
    time.sleep(pause)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list((fetched(repository, commit, tmp_path) / "more").iterdir())) == 40


def test_a_commit_that_is_had_needs_no_network(repository: ModelRepository, tmp_path: Path) -> None:
    commit = repository.write(working.quick()).commit("First model")
    fetched(repository, commit, tmp_path)
    repository.path.rename(tmp_path / "gone")
    assert (fetched(repository, commit, tmp_path, "2") / "main.py").is_file()


def test_a_server_that_gives_branches_alone(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the first protocol of git; a commit that is not on the branch is the commit's fault."""
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.version", "GIT_CONFIG_VALUE_0": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    commit = repository.write(working.quick()).commit("First model")
    repository.commit("Second model")
    said: list[str] = []
    assert (fetched(repository, commit, tmp_path, say=said.append) / "main.py").is_file()
    assert "it is not to be had by itself: fetching the branch main" in said
    with pytest.raises(Rejected, match="was main rewritten after the merge"):
        fetched(repository, "0" * 40, tmp_path, "2")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/model.git"


ASKING = """
import sys
from pathlib import Path
from ml.errors import Unavailable
from ml.settings import Model
from ml.stages import checkout
checkout.LIMIT = checkout.TAGS_LIMIT = 1.0
folder, url = Path(sys.argv[1]), sys.argv[2]
model = Model("web-traffic", "acme/web-traffic", url, "main")
for ask in (
    lambda: checkout.fetch(model, "1" * 40, clone=folder / "clone.git", into=folder / "1/source"),
    lambda: checkout.tags(model),
):
    try:
        ask()
    except Unavailable as fault:
        print(fault)
"""


def test_a_silent_server_is_given_up_without_ps(silent_server: str, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(str(shutil.which("git")))
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKING, str(tmp_path), silent_server],
        env={**plain, "PATH": str(programs)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = psutil.Process(asking.pid)
    wait_until(lambda: started.children(recursive=True), 60, "git has begun")
    gits = started.children(recursive=True)
    try:
        said, _ = asking.communicate(timeout=60)
    finally:
        asking.kill()
        left = [one for one in gits if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        for process in left:
            process.kill()

    assert said.count("cannot be fetched: fatal: no end within 1 s") == 2
    assert not left


def test_folders_without_a_file_are_counted_too(repository: ModelRepository, tmp_path: Path) -> None:
    """A dozen objects that name more folders than git could list in a year."""
    git_dir = repository.path / ".git"
    tree = git(git_dir, "mktree")
    for _ in range(12):
        entries = "".join(f"040000 tree {tree}\t{number}\n" for number in range(16))
        tree = git(git_dir, "mktree", given=entries.encode())
    commit = repository.commit("Start")
    login = ("-c", "user.name=Dana", "-c", "user.email=dana@example.com")
    commit = git(git_dir, *login, "commit-tree", "-m", "Bomb", "-p", commit, tree)
    git(git_dir, "update-ref", "refs/heads/main", commit)

    with pytest.raises(Rejected, match="too large"):
        fetched(repository, commit, tmp_path)


LOGIN = "reader:p%40ss-4711"


class Asking(SimpleHTTPRequestHandler):
    """Serves a repository's files to whoever signs in."""

    def do_GET(self) -> None:
        login = base64.b64encode(b"reader:p@ss-4711").decode()
        if self.headers.get("Authorization") == f"Basic {login}":
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic realm=git")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_login_in_the_address_is_in_no_argument_list(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.write(working.quick()).commit("First model")
    subprocess.run(["git", "clone", "--quiet", "--bare", repository.path, tmp_path / "bare.git"], check=True)
    git(tmp_path / "bare.git", "update-server-info")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Asking, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    trace = tmp_path / "trace"
    monkeypatch.setenv("GIT_TRACE", str(trace))
    address = f"http://{LOGIN}@127.0.0.1:{server.server_address[1]}/bare.git"
    model = Model("web-traffic", "acme/web-traffic", address, repository.branch)
    tree = checkout.fetch(model, commit, clone=tmp_path / "clone.git", into=tmp_path / "1/source")
    server.shutdown()
    server.server_close()

    assert (tree / "main.py").is_file()
    assert "remote-http" in trace.read_text()
    assert "4711" not in trace.read_text()
    assert "4711" not in (tmp_path / "clone.git/config").read_text()


def test_an_operators_own_filters_do_not_run(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git LFS is such a filter: the files stay the pointers that the commit has."""
    home, marker = tmp_path / "operator", tmp_path / "was-here"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (home / ".gitconfig").write_text(
        f'[filter "lfs"]\n\tsmudge = touch {marker}; cat\n\trequired = true\n[http]\n\tproxy = http://proxy.example:3128\n'
    )
    files = {**working.quick(), ".gitattributes": "* filter=lfs\n"}
    commit = repository.write(files).commit("First model")
    fetched(repository, commit, tmp_path)

    assert not marker.exists()
    checkout.network.cache_clear()
    assert checkout.network()["https_proxy"] == "http://proxy.example:3128"
    checkout.network.cache_clear()
