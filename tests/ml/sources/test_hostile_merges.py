"""Pull requests that are made to break their merge: each ends with whose fault it was, and runs nothing."""

import os
import subprocess
from pathlib import Path

import pytest

from common.errors import RejectedError
from ml import manifest
from ml.settings import ModelConfig
from ml.sources import git_checkout, git_merge
from ml.stage_log import discard
from tests.harness.repositories import AUTHOR, ModelRepository


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    made = ModelRepository(tmp_path / "model")
    made.write({"main.py": "one\ntwo\nthree\n"}).commit("First")
    return made


def merge(repository: ModelRepository, head: str, folder: Path) -> Path:
    """Merge a head as a check does, and return the folder of the files."""
    model = ModelConfig("web-traffic", "acme/web-traffic", repository.url, repository.branch)
    source = folder / "1/source"
    git_merge.checkout_merge(
        model, head, 7, base=None, clone=folder / "clone.git", into=source, log_line=discard
    )
    return source


def write_tree(repository: ModelRepository, *entries: tuple[str, str, str]) -> str:
    """Return a tree of (mode, name, object), of names that no index takes too."""
    body = b"".join(
        f"{mode} {name}".encode(errors="surrogateescape") + b"\0" + bytes.fromhex(sha)
        for mode, name, sha in entries
    )
    return git(repository, "hash-object", "-t", "tree", "-w", "--stdin", "--literally", given=body)


def propose_tree(repository: ModelRepository, tree: str) -> str:
    """Return a head whose files are a tree."""
    head = git(repository, "commit-tree", "-m", "Evil", "-p", repository.head, tree)
    repository.git("update-ref", "refs/heads/pull-request-7", head)
    return head


def git(repository: ModelRepository, *command: str, given: bytes = b"") -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(repository.path), **AUTHOR}
    done = subprocess.run(
        ["git", "-C", repository.path, *command],
        env=environment,
        input=given,
        check=True,
        capture_output=True,
    )
    return done.stdout.decode().strip()


def blob(repository: ModelRepository, text: str = "evil\n") -> str:
    return git(repository, "hash-object", "-w", "--stdin", given=text.encode())


def test_no_driver_filter_or_hook_of_the_operator_runs(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attributes choose programs by name, and the operator's own git may have programs of such names."""
    home, marker = tmp_path / "operator", tmp_path / "was-here"
    hook = home / "hooks/post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[merge "evil"]\n\tdriver = touch {marker}\n'
        f'[filter "evil"]\n\tsmudge = touch {marker}\n\tclean = cat\n'
        f'[diff "evil"]\n\tcommand = touch {marker}\n\ttextconv = touch {marker}\n'
        f"[core]\n\thooksPath = {hook.parent}\n\tfsmonitor = touch {marker}\n"
    )
    monkeypatch.setenv("HOME", str(home))
    for name in ("GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    attributes = {".gitattributes": "* merge=evil filter=evil diff=evil\n"}
    repository.write(attributes).commit("Attributes")
    head = repository.propose(7, {**attributes, "main.py": "one\ntwo\nthree\nfour\n"})
    repository.write({"main.py": "zero\none\ntwo\nthree\n"}).commit("Meanwhile")

    source = merge(repository, head, tmp_path)
    assert (source / "main.py").read_text() == "zero\none\ntwo\nthree\nfour\n"
    assert not marker.exists()


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", "..", ".", "a/b"])
def test_a_name_that_no_work_tree_may_have_is_the_commits_fault(
    repository: ModelRepository, tmp_path: Path, name: str
) -> None:
    folder = write_tree(repository, ("100644", "config", blob(repository)))
    main = git(repository, "rev-parse", "HEAD:main.py")
    tree = write_tree(repository, ("40000", name, folder), ("100644", "main.py", main))
    with pytest.raises(RejectedError, match=r"a path that git does not check out|git itself breaks off"):
        merge(repository, propose_tree(repository, tree), tmp_path)
    assert not list(tmp_path.glob("*/source"))


def test_a_merged_commit_with_such_a_name_is_rejected(repository: ModelRepository, tmp_path: Path) -> None:
    folder = write_tree(repository, ("100644", "config", blob(repository)))
    commit = propose_tree(repository, write_tree(repository, ("40000", ".git", folder)))
    model = ModelConfig("web-traffic", "acme/web-traffic", repository.url, repository.branch)
    with pytest.raises(RejectedError, match=r"\.git/config is a path that git does not check out: rename it"):
        git_checkout.checkout_commit(model, commit, clone=tmp_path / "clone.git", into=tmp_path / "1/source")


def test_names_of_a_terminal_or_no_text_are_files_like_others(
    repository: ModelRepository, tmp_path: Path
) -> None:
    names = ["\x1b[2J.py", "\u202egnp.py", "\udcff\udcfe", "new\nline", "Main.py", "MAIN.PY", "-rf", "ª.py"]
    head = repository.propose(7, dict.fromkeys(names, "text\n"))
    source = merge(repository, head, tmp_path)
    assert {os.fsdecode(path.name) for path in source.iterdir()} == {*names, "main.py"}


def test_a_submodule_with_a_hostile_name_is_named_plainly(
    repository: ModelRepository, tmp_path: Path
) -> None:
    main = git(repository, "rev-parse", "HEAD:main.py")
    name = "\x1b[2J\u202e\udcff" + "long" * 1000
    tree = write_tree(repository, ("160000", name, "1" * 40), ("100644", "main.py", main))
    with pytest.raises(RejectedError, match="is a git submodule, which Slipway does not fetch") as fault:
        merge(repository, propose_tree(repository, tree), tmp_path)
    assert str(fault.value).isprintable()
    assert len(str(fault.value)) < 500


@pytest.mark.parametrize("target", ["other.toml", "/etc/passwd", "../../../token", "slipway.toml"])
def test_a_manifest_that_is_a_link_is_not_followed(
    repository: ModelRepository, tmp_path: Path, target: str
) -> None:
    link, main = blob(repository, target), git(repository, "rev-parse", "HEAD:main.py")
    entries = (("100644", "main.py", main), ("100644", "other.toml", blob(repository, "[gate]\n")))
    tree = write_tree(repository, *entries, ("120000", "slipway.toml", link))
    with pytest.raises(RejectedError, match=r"symbolic link|a file of its own"):
        manifest.read(merge(repository, propose_tree(repository, tree), tmp_path))


def test_a_manifest_of_megabytes_is_not_read(repository: ModelRepository, tmp_path: Path) -> None:
    repository.write({"slipway.toml": "#" * (10 << 20)}).commit("Large on the branch")
    head = repository.propose(7, {"slipway.toml": "#" * (11 << 20)})
    source = merge(repository, head, tmp_path)
    with pytest.raises(RejectedError, match="of at most 64 KiB"):
        manifest.read(source)
    assert (tmp_path / "1/base/slipway.toml").read_bytes() == b""


def test_too_many_files_are_the_commits_fault(repository: ModelRepository, tmp_path: Path) -> None:
    one = blob(repository)
    many = write_tree(repository, *(("100644", f"{number:06}", one) for number in range(100_000)))
    main = git(repository, "rev-parse", "HEAD:main.py")
    tree = write_tree(repository, ("40000", "data", many), ("100644", "main.py", main))
    with pytest.raises(RejectedError, match="too large: more than 100,000 files"):
        merge(repository, propose_tree(repository, tree), tmp_path)


def test_a_merge_of_folders_without_end_is_given_up(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was renamed is looked for in each of them."""
    monkeypatch.setattr(git_merge, "MERGE_SECONDS", 3)
    repository.write({"old.py": "".join(f"line {number}\n" for number in range(99))}).commit("Long")
    main = git(repository, "rev-parse", "HEAD:main.py")
    tree = write_tree(repository, ("100644", "file", blob(repository)))
    for _ in range(12):
        tree = write_tree(repository, *(("40000", f"{number:x}", tree) for number in range(16)))
    head = propose_tree(repository, write_tree(repository, ("40000", "a", tree), ("100644", "main.py", main)))
    repository.write({"old.py": "changed\n" + "".join(f"line {n}\n" for n in range(99))}).commit("Changed")
    with pytest.raises(RejectedError, match=r"no end within|memory|conflicts|too large"):
        merge(repository, head, tmp_path)


def test_thousands_of_renamed_files_are_merged(repository: ModelRepository, tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(50))
    repository.write({f"old/{number}": f"{number}\n{text}" for number in range(1100)}).commit("Many")
    renamed = {f"new/{number}": f"{number} renamed\n{text}" for number in range(1100)}
    head = repository.propose(7, {**{f"old/{number}": None for number in range(1100)}, **renamed})
    repository.write({"main.py": "moved on\n"}).commit("Meanwhile")
    assert len(list((merge(repository, head, tmp_path) / "new").iterdir())) == 1100


def test_a_long_conflict_marker_is_the_commits_fault(repository: ModelRepository, tmp_path: Path) -> None:
    attributes = {".gitattributes": "* conflict-marker-size=1500000000\n"}
    repository.write(attributes).commit("Attributes")
    head = repository.propose(7, {"main.py": "mine\n"})
    repository.write({"main.py": "theirs\n"}).commit("Theirs")
    with pytest.raises(RejectedError, match=r"conflicts with|memory"):
        merge(repository, head, tmp_path)
