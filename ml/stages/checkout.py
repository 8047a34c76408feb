"""Checkout: the tree of one commit, without `.git`. The only door to git."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

import git
from packaging.version import InvalidVersion, Version

from common.durable import publish
from ml import disk, flock
from ml.errors import Rejected, Unavailable
from ml.quantities import written
from ml.settings import Model
from ml.stagelog import Say, silent

ASKPASS = Path(__file__).with_name("askpass.sh")
CONFIGURATION = {"GIT_CONFIG_GLOBAL": str(Path(__file__).with_name("gitconfig")), "GIT_CONFIG_NOSYSTEM": "1"}
FROM_CONFIGURATION = {
    "http.proxy": ("http_proxy", "https_proxy"),
    "http.sslcainfo": ("GIT_SSL_CAINFO",),
    "http.sslcapath": ("GIT_SSL_CAPATH",),
}
FETCH = ("-c", "fetch.unpackLimit=1", "fetch", "--no-tags")  # in one file, synced to the disk, and whole
LIMIT = 600.0  # seconds for one fetch
TAGS_LIMIT = 60.0
KEPT_ALIVE = "ssh -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
HISTORY = 100  # commits behind those that were merged in one second
FILES, BYTES = 100_000, 8 << 30  # at most, in one commit
DEPTH = 100  # folders in each other, at most: much that walks through folders gives up at a thousand
SUBMODULE, LINK, FOLDER = "160000", "120000", "040000"  # modes in a tree
SECRET = re.compile(r"(?<=://)[^/@\s]+@")  # user:password in an address
NO_VERSION = Version("0.dev0")  # the lowest
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
MISSING = (
    "not our ref",
    "couldn't find remote ref",
    "no such remote ref",
    "did not send all necessary objects",
)
NOT_ALONE = ("unadvertised object", "shallow")  # the server gives whole branches alone


def fetch(
    model: Model,
    commit: str,
    *,
    clone: Path,
    into: Path,
    token: str = "",
    host: str = "github.com",
    may_come: bool = False,
    say: Say = silent,
) -> Path:
    """The folder `into`, holding the tree of `commit`; `clone` is kept as a bare repository between releases.

    Raises `Unavailable` when the repository cannot be reached, and `Rejected` when it has no such commit, or
    `Unavailable` while that `may_come`: a mirror may be behind.
    """
    if into.exists():
        say(f"the files of commit {commit[:8]} are there already")
        return into
    if not COMMIT.fullmatch(commit):
        raise Rejected(f"{commit[:100]!r} is not the id of a commit")
    try:
        with flock.hold(clone.with_suffix(".lock")):
            repository = bare(clone)
            with repository.git.custom_environment(**credentials(model.clone_url, token, host)):
                if not has(repository, reference(commit)):
                    bring(repository, model, commit, say)
                if not has(repository, reference(commit)):
                    raise absent(model, commit, may_come)
            files, size = examine(repository, commit)
            lay_out(repository, commit, into)
    except git.GitCommandError as failure:
        if disk.says_full(str(failure.stderr)) or disk.is_full(into.parent):
            raise Unavailable(f"commit {commit[:8]} cannot be checked out: {disk.FULL}") from failure
        raise
    say(f"commit {commit}: {files:,} file{'s' if files != 1 else ''}, {written(size)}")
    return into


def bare(clone: Path) -> git.Repo:
    """Our clone, made when it is missing or broken. We hold it: locks in it are of a git that was killed."""
    for lock in [*clone.glob("*.lock"), *(clone / "refs").rglob("*.lock")]:
        lock.unlink(missing_ok=True)
    try:
        repository = git.Repo(clone)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        shutil.rmtree(clone, ignore_errors=True)
        repository = git.Repo.init(clone, bare=True)
    repository.git.update_environment(**CONFIGURATION)
    return repository


def reference(commit: str) -> str:
    """What git makes when all of a commit has come; a fetch that was killed leaves a part without it."""
    return f"refs/commits/{commit}"


def has(repository: git.Repo, commit: str) -> bool:
    try:
        repository.git.cat_file("-e", f"{commit}^{{tree}}")
    except git.GitCommandError:
        return False
    return True


def bring(repository: git.Repo, model: Model, commit: str, say: Say) -> None:
    """Fetch the one commit; where the server cannot do that, the whole branch."""
    address = SECRET.sub("***@", model.clone_url)
    say(f"fetching commit {commit[:8]} from {address}")
    alone = f"+{commit}:{reference(commit)}"
    branch = f"+refs/heads/{model.branch}:refs/heads/{model.branch}"
    plain = without_login(model.clone_url)
    try:
        ask_server(repository.git, *FETCH, "--depth=1", "--", plain, alone)
    except git.GitCommandError as failure:
        if disk.says_full(str(failure.stderr)):
            raise
        if not any(word in str(failure.stderr) for word in (*MISSING, *NOT_ALONE)):
            raise unreachable(model, failure) from failure
        say(f"it is not to be had by itself: fetching the branch {model.branch}")
        try:
            ask_server(repository.git, *FETCH, "--", plain, branch)
            if has(repository, commit):
                repository.git.update_ref(reference(commit), commit)
        except git.GitCommandError as failure:
            if disk.says_full(str(failure.stderr)):
                raise
            if not any(word in str(failure.stderr) for word in MISSING):
                raise unreachable(model, failure) from failure


def absent(model: Model, commit: str, may_come: bool) -> Rejected | Unavailable:
    missing = f"commit {commit} is not in {SECRET.sub('***@', model.clone_url)}"
    if may_come:
        return Unavailable(f"{missing} yet: is that behind GitHub?")
    return Rejected(f"{missing}: was {model.branch} rewritten after the merge?")


def count_ancestors(
    model: Model, commits: Sequence[str], *, clone: Path, token: str = "", host: str = "github.com"
) -> dict[str, int]:
    """How many of the others are in the history of each, so far as that can be had; or `Unavailable`."""
    refs = [f"+{commit}:{reference(commit)}" for commit in commits if COMMIT.fullmatch(commit)]
    with flock.hold(clone.with_suffix(".lock")):
        repository = bare(clone)
        with repository.git.custom_environment(**credentials(model.clone_url, token, host)):
            try:
                plain = without_login(model.clone_url)
                ask_server(repository.git, *FETCH, f"--depth={HISTORY}", "--", plain, *refs)
            except git.GitCommandError as failure:
                if not any(word in str(failure.stderr) for word in MISSING):
                    raise unreachable(model, failure) from failure
        known = {
            commit: repository.commit(commit)
            for commit in commits
            if COMMIT.fullmatch(commit) and has(repository, commit)
        }
        return {
            commit: sum(
                repository.is_ancestor(known[other], known[commit]) for other in known if other != commit
            )
            for commit in known
        }


def tags(model: Model, *, token: str = "", host: str = "github.com") -> list[tuple[str, str]]:
    """The `v*` tags of a repository and their commits, newest version first; or `Unavailable`.

    Versions are those of PEP 440; what is none is older than any, in git's own order.
    """
    asking = git.Git()
    try:
        with asking.custom_environment(**credentials(model.clone_url, token, host)):
            answer = ask_server(
                asking,
                "ls-remote",
                "--tags",
                "--sort=-version:refname",
                "--",
                without_login(model.clone_url),
                "refs/tags/v*",
                limit=TAGS_LIMIT,
            )
    except git.GitCommandError as failure:
        raise unreachable(model, failure) from failure
    commits: dict[str, str] = {}
    for line in answer.splitlines():
        commit, _, ref = line.partition("\t")
        name = ref.removeprefix("refs/tags/").removesuffix("^{}")
        if name not in commits or ref.endswith("^{}"):  # of an annotated tag: what it points at
            commits[name] = commit
    return sorted(commits.items(), key=lambda tag: version(tag[0]), reverse=True)


def version(tag: str) -> Version:
    try:
        return Version(tag)
    except InvalidVersion:
        return NO_VERSION


def ask_server(asking: git.Git, *arguments: str, limit: float | None = None) -> str:
    """Run a git that talks to a server, and return what it prints; `git.GitCommandError` when it fails.

    After `limit` seconds git is ended with what it started. That is its session: GitPython finds children by
    `ps`, which not every machine has, and waits for those that it does not find.
    """
    limit = LIMIT if limit is None else limit
    command = [str(asking.GIT_PYTHON_GIT_EXECUTABLE), *arguments]
    running = asking.execute(command, as_process=True, start_new_session=True)  # ended when it is let go of
    process = running.proc
    assert process is not None
    try:
        said, wrong = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired as late:
        raise git.GitCommandError(command, None, f"fatal: no end within {limit:g} s") from late
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise git.GitCommandError(command, process.returncode, wrong, said)
    return str(said.decode(errors="replace"))


def unreachable(model: Model, failure: git.GitCommandError) -> Unavailable:
    heard = [line.strip().removeprefix("stderr: ") for line in str(failure.stderr).splitlines()]
    lines = [line for line in heard if "fatal:" in line or "ERROR" in line]
    said = (lines or [str(failure.stderr).strip() or f"git ended with {failure.status}"])[-1].strip("' \n")
    return Unavailable(
        SECRET.sub("***@", f"{model.clone_url} cannot be fetched: {said}. ")
        + "Check SLIPWAY_CLONE_URL, GITHUB_TOKEN and the network"
    )


def examine(repository: git.Repo, commit: str) -> tuple[int, int]:
    """How many files the commit's tree has, and how many bytes.

    `Rejected` when the commit's tree is too large to be laid out, or has parts that would be missing.

    Read as it comes, folders too: a tree of a few objects can name more of both than there are in the world.
    """
    listing = repository.git.ls_tree("-r", "-t", "-z", "--long", "--full-tree", commit, as_process=True)
    files, folders, size = 0, 0, 0
    try:
        for entry in entries(listing.stdout):
            facts, _, name = entry.partition("\t")
            mode, _, _, length = facts.split()
            if mode == SUBMODULE:
                raise Rejected(
                    f"{name} is a git submodule, which Slipway does not fetch: commit its files, or name it "
                    "in the requirements"
                )
            if name.count("/") > DEPTH:
                raise Rejected(f"{name[:60]}… lies more than {DEPTH} folders deep: move it up")
            if mode == FOLDER:
                folders += 1
            else:
                files, size = files + 1, size + int(length)
            if files > FILES or folders > FILES or size > BYTES:
                raise Rejected(
                    f"the repository is too large: more than {FILES:,} files, as many folders, or "
                    f"{BYTES >> 30} GiB. "
                    "Name large data under [data] in slipway.toml"
                )
    finally:
        listing.proc.kill()
        listing.proc.wait()
    return files, size


def entries(stream: IO[bytes]) -> Iterator[str]:
    """What git separates by NUL."""
    rest = b""
    while chunk := stream.read(1 << 16):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from (entry.decode(errors="replace") for entry in whole)


def check_links(tree: Path) -> None:
    """`Rejected` when a symbolic link leads out of the tree: it would be read with our rights."""
    tree = tree.resolve()
    for folder, folders, files in os.walk(tree):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if not path.is_symlink():
                continue
            target = path.readlink()
            try:
                inside = not target.is_absolute() and path.resolve().is_relative_to(tree)
            except RuntimeError:  # it leads to itself
                inside = False
            if not inside:
                raise Rejected(
                    f"{path.relative_to(tree)} is a symbolic link to {target}, which is not in the "
                    "repository: commit the file itself"
                )


def lay_out(repository: git.Repo, commit: str, into: Path) -> None:
    """The commit's files in a new folder, renamed into place when it is whole."""
    into.parent.mkdir(parents=True, exist_ok=True)
    new = into.with_name(into.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    index = into.with_name("index")
    index.with_name("index.lock").unlink(missing_ok=True)
    with repository.git.custom_environment(GIT_INDEX_FILE=str(index), GIT_WORK_TREE=str(new)):
        repository.git.read_tree(commit)
        repository.git.checkout_index("--all", "--force")  # unlike `checkout`, it runs no hook
    index.unlink(missing_ok=True)
    check_links(new)
    publish(new, into)


def without_login(clone_url: str) -> str:
    """Return the address as it may stand among arguments, which every user of the machine can read."""
    url = urlsplit(clone_url)
    if url.scheme.lower() not in ("http", "https") or not url.password:
        return clone_url
    return urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2]))


def credentials(clone_url: str, token: str, host: str) -> dict[str, str]:
    """Return git's environment: it asks no person, and has the login for one host alone, through askpass.

    That is the login in `clone_url` for its own host, else the token for `host`.
    """
    asking = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
    asking |= network() | CONFIGURATION
    if "GIT_SSH" not in os.environ:
        asking["GIT_SSH_COMMAND"] = os.environ.get("GIT_SSH_COMMAND", KEPT_ALIVE)
    url = urlsplit(clone_url)
    if without_login(clone_url) != clone_url:
        origin = f"{url.scheme.lower()}://{url.netloc.rpartition('@')[2]}"
        user, password = unquote(url.username or ""), unquote(url.password or "")
    elif token:
        origin, user, password = f"https://{host}", "x-access-token", token
    else:
        return asking | {"GIT_ASKPASS": os.devnull}
    login = {"SLIPWAY_GIT_ORIGIN": origin, "SLIPWAY_GIT_USER": user, "SLIPWAY_GIT_PASSWORD": password}
    return asking | {"GIT_ASKPASS": str(ASKPASS)} | login


@cache
def network() -> dict[str, str]:
    """Return what the operator's own configuration of git says of proxies and certificates, as variables.

    Nothing else of it is for other people's repositories: what it names as filters are programs.
    """
    found: dict[str, str] = {}
    for name, variables in FROM_CONFIGURATION.items():
        with suppress(git.GitCommandError):  # it is not set
            value = git.Git().config("--get", name)
            found |= {variable: value for variable in variables if variable not in os.environ}
    return found
