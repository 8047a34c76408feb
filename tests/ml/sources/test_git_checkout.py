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

from common import git_login
from common.errors import RejectedError
from ml.settings import ModelConfig
from ml.sources import git_checkout, git_server
from ml.stage_log import LogLine, discard
from tests.harness.hostile_commits import write_commit, write_delta_bomb
from tests.harness.repositories import ModelRepository
from tests.harness.waiting import wait_until
from tests.models import working

FETCHING = """
import sys
from pathlib import Path
from ml.settings import ModelConfig
from ml.sources import git_checkout as checkout
folder, url, commit = Path(sys.argv[1]), *sys.argv[2:]
model = ModelConfig("web-traffic", "acme/web-traffic", url, "main")
checkout.checkout_commit(model, commit, clone=folder / "clone.git", into=folder / "1" / "source")
"""


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "model")


def fetched(
    repository: ModelRepository, commit: str, folder: Path, into: str = "1", say: LogLine = discard
) -> Path:
    model = ModelConfig("web-traffic", "acme/web-traffic", repository.url, repository.branch)
    place = {"clone": folder / "clone.git", "into": folder / into / "source"}
    return git_checkout.checkout_commit(model, commit, **place, log_line=say)


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


def test_a_clone_does_not_grow_with_every_merge(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_checkout, "MOST_COMMITS", 3)
    clone = tmp_path / "clone.git"
    for number in range(8):
        commit = repository.write(working.quick(smape=number / 10)).commit(f"Model {number}")
        source = fetched(repository, commit, tmp_path, str(number))
        assert str(number / 10) in (source / "main.py").read_text()
        assert len(git(clone, "for-each-ref").splitlines()) == len(list(clone.rglob("*.pack"))) <= 3

    assert sorted(path.name for path in tmp_path.glob("clone.*")) == ["clone.git", "clone.lock"]


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
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'protocol.version'='0'")
    commit = repository.write(working.quick()).commit("First model")
    repository.commit("Second model")
    said: list[str] = []
    assert (fetched(repository, commit, tmp_path, say=said.append) / "main.py").is_file()
    assert "the server does not provide it alone: fetching the branch main" in said
    with pytest.raises(RejectedError, match="was main rewritten after the merge"):
        fetched(repository, "0" * 40, tmp_path, "2")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/model.git"


ASKING = """
import sys
from pathlib import Path
from common.errors import UnavailableError
from ml.settings import ModelConfig
from ml.sources import git_checkout as checkout, git_server
git_server.FETCH_SECONDS = git_server.TAGS_SECONDS = 1.0
folder, url = Path(sys.argv[1]), sys.argv[2]
model = ModelConfig("web-traffic", "acme/web-traffic", url, "main")
for ask in (
    lambda: checkout.checkout_commit(model, "1" * 40, clone=folder / "clone.git", into=folder / "1/source"),
    lambda: git_server.list_tags(model),
):
    try:
        ask()
    except UnavailableError as fault:
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

    with pytest.raises(RejectedError, match="too large"):
        fetched(repository, commit, tmp_path)


LITTLE = 128 << 10  # KiB that git may have
SHORT_OF_MEMORY = "git would use more than 1.5 GiB of memory"


def test_a_commit_that_takes_git_much_memory_is_refused(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message of 200 MB takes 200 kB of a clone, and all of its length where git reads it."""
    monkeypatch.setitem(git_login.GIT_CONFIG_VARIABLES, "SLIPWAY_GIT_KIB", str(LITTLE))
    first = repository.write(working.quick()).commit("First model")
    commit = write_commit(repository, b"committer a <a> 1700000000 +0000\n\n" + b"long " * (40 << 20))

    with pytest.raises(RejectedError, match=SHORT_OF_MEMORY):
        fetched(repository, commit, tmp_path)
    assert (fetched(repository, first, tmp_path, "2") / "main.py").is_file()


def test_a_file_that_takes_git_much_memory_is_refused(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is told by what it shares with another: few bytes that git has to unfold."""
    monkeypatch.setitem(git_login.GIT_CONFIG_VARIABLES, "SLIPWAY_GIT_KIB", str(LITTLE))
    commit = write_delta_bomb(repository, 256 << 20)

    with pytest.raises(RejectedError, match=SHORT_OF_MEMORY):
        fetched(repository, commit, tmp_path)


def test_a_large_file_takes_git_little_memory(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(git_login.GIT_CONFIG_VARIABLES, "SLIPWAY_GIT_KIB", str(LITTLE))
    commit = repository.write({"large.bin": b"x" * (300 << 20)}).commit("Large")

    assert (fetched(repository, commit, tmp_path) / "large.bin").stat().st_size == 300 << 20


def give_away(*folders: Path) -> None:
    subprocess.run(["chown", "-R", "12345:12345", *folders], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("kind", ["bare", "with files"])
def test_the_repository_on_disk_may_be_anybodys(
    repository: ModelRepository, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so may our clone of it be, as where SLIPWAY_HOME has come from another machine."""
    monkeypatch.delenv("SUDO_UID", raising=False)
    commits = [repository.write({"a.txt": text}).commit(text) for text in ("one", "two")]
    place = repository.path
    if kind == "bare":
        place = tmp_path / "its place.git"
        subprocess.run(["git", "clone", "--quiet", "--bare", repository.path, place], check=True)
    give_away(place)
    model = ModelConfig("web-traffic", "acme/web-traffic", place.as_uri(), repository.branch)
    for commit in commits:
        into = tmp_path / commit / "source"
        git_checkout.checkout_commit(model, commit, clone=tmp_path / "clone.git", into=into)
        assert (into / "a.txt").is_file()
        give_away(tmp_path / "clone.git")
    assert git_server.list_tags(model) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_no_other_repository_of_somebody_else_is_read(repository: ModelRepository, tmp_path: Path) -> None:
    other = ModelRepository(tmp_path / "other")
    give_away(repository.path, other.path)
    environment = {"PATH": os.environ["PATH"], **git_login.login_environment(repository.url)}

    def is_read(address: str) -> bool:
        asking = [git_login.GIT, "ls-remote", address]
        return subprocess.run(asking, env=environment, capture_output=True, check=False).returncode == 0

    assert is_read(repository.url)
    assert not is_read(other.url)


# in an address, and as they are sent
LOGINS = {"reader:p%40ss-4711": b"reader:p@ss-4711", "token-4711": b"x-access-token:token-4711"}


class Asking(SimpleHTTPRequestHandler):
    """Serves a repository's files to whoever signs in."""

    def do_GET(self) -> None:
        logins = [f"Basic {base64.b64encode(login).decode()}" for login in LOGINS.values()]
        if self.headers.get("Authorization") in logins:
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic realm=git")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_in_the_address_is_in_no_argument_list(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    commit = repository.write(working.quick()).commit("First model")
    subprocess.run(["git", "clone", "--quiet", "--bare", repository.path, tmp_path / "bare.git"], check=True)
    git(tmp_path / "bare.git", "update-server-info")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Asking, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    trace = tmp_path / "trace"
    monkeypatch.setenv("GIT_TRACE", str(trace))
    address = f"http://{login}@127.0.0.1:{server.server_address[1]}/bare.git"
    model = ModelConfig("web-traffic", "acme/web-traffic", address, repository.branch)
    tree = git_checkout.checkout_commit(
        model, commit, clone=tmp_path / "clone.git", into=tmp_path / "1/source"
    )
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
        f'[filter "lfs"]\n\tsmudge = touch {marker}; cat\n\trequired = true\n'
        "[core]\n\tautocrlf = true\n[http]\n\tproxy = http://proxy.example:3128\n"
    )
    files = {**working.quick(), ".gitattributes": "* filter=lfs\n"}
    commit = repository.write(files).commit("First model")
    source = fetched(repository, commit, tmp_path)

    assert not marker.exists()
    assert b"\r" not in (source / "main.py").read_bytes()
    git_login.read_network_config.cache_clear()
    assert git_login.read_network_config()["https_proxy"] == "http://proxy.example:3128"
    git_login.read_network_config.cache_clear()
