"""A pull request's head merged onto its branch's tip, as git itself merges them."""

from pathlib import Path

import pytest

from common.errors import RejectedError, UnavailableError
from ml.settings import ModelConfig
from ml.sources import git_merge
from ml.sources.git_merge import MergeConflictError, MergedTree
from ml.stage_log import discard
from tests.harness.repositories import ModelRepository
from vcs.outbox.subjects import shorten


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    made = ModelRepository(tmp_path / "model")
    made.write({"main.py": "one\ntwo\nthree\n", "data.csv": "1\n"}).commit("First")
    return made


def merge(
    repository: ModelRepository, head: str, folder: Path, *, base: str | None = None, into: str = "1"
) -> tuple[MergedTree, Path]:
    model = ModelConfig("web-traffic", "acme/web-traffic", repository.url, repository.branch)
    source = folder / into / "source"
    clone = folder / "clone.git"
    return git_merge.checkout_merge(
        model, head, 7, base=base, clone=clone, into=source, log_line=discard
    ), source


def test_files_are_those_of_the_merge_that_git_makes(repository: ModelRepository, tmp_path: Path) -> None:
    head = repository.propose(7, {"main.py": "one\ntwo\nthree\nfour\n"})
    tip = repository.write({"main.py": "zero\none\ntwo\nthree\n", "new.csv": "2\n"}).commit("Tip")

    merged, source = merge(repository, head, tmp_path)
    assert (source / "main.py").read_text() == "zero\none\ntwo\nthree\nfour\n"
    assert (source / "new.csv").read_text() == "2\n"
    assert merged.base == tip

    repository.git("merge", "--quiet", "--no-ff", "--message=Merge", "pull-request-7")
    assert merged.tree == repository.git("rev-parse", "HEAD^{tree}")


def test_the_same_ends_give_the_same_files_later(repository: ModelRepository, tmp_path: Path) -> None:
    head = repository.propose(7, {"more.py": "more\n"})
    merged, _ = merge(repository, head, tmp_path)
    repository.write({"main.py": "moved on\n"}).commit("Moved on")

    again, source = merge(repository, head, tmp_path, base=merged.base, into="2")
    assert again == merged
    assert (source / "main.py").read_text() == "one\ntwo\nthree\n"


def test_files_of_a_base_that_was_not_stored_are_replaced(
    repository: ModelRepository, tmp_path: Path
) -> None:
    """A merge interrupts the builder when it has written the files, and not yet stored their base."""
    head = repository.propose(7, {"more.py": "more\n"})
    merge(repository, head, tmp_path)
    repository.write({"main.py": "moved on\n"}).commit("Moved on")

    merged, source = merge(repository, head, tmp_path)
    assert (source / "main.py").read_text() == "moved on\n"
    assert repository.git("rev-parse", "HEAD") == merged.base


def test_a_renamed_file_keeps_the_branchs_change(repository: ModelRepository, tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(50))
    repository.write({"old.py": text}).commit("Long")
    head = repository.propose(7, {"old.py": None, "new.py": text})
    repository.write({"old.py": text.replace("line 7", "line seven")}).commit("Seven")

    _, source = merge(repository, head, tmp_path)
    assert "line seven" in (source / "new.py").read_text()
    assert not (source / "old.py").exists()


def test_a_conflict_names_its_files(repository: ModelRepository, tmp_path: Path) -> None:
    head = repository.propose(7, {"main.py": "mine\n", "data.csv": "3\n"})
    repository.write({"main.py": "theirs\n", "data.csv": "4\n"}).commit("Theirs")

    with pytest.raises(
        MergeConflictError,
        match=r"conflicts with \w{8}: merge the branch into .* push that. It conflicts in data.csv, main.py$",
    ):
        merge(repository, head, tmp_path)


def test_githubs_status_of_a_conflict_has_the_cure(repository: ModelRepository, tmp_path: Path) -> None:
    names = [f"{'long ' * 40}{number}\x1b\u202e\udcff" for number in range(20)]
    head = repository.propose(7, dict.fromkeys(names, "mine\n"))
    repository.write(dict.fromkeys(names, "theirs\n")).commit("Theirs")

    with pytest.raises(MergeConflictError) as conflict:
        merge(repository, head, tmp_path)
    assert ": merge the branch into the pull request, and push that" in shorten(str(conflict.value))
    assert str(conflict.value).isprintable()
    assert str(conflict.value).endswith(" and 10 more")


def test_histories_without_a_common_commit_conflict(repository: ModelRepository, tmp_path: Path) -> None:
    repository.git("checkout", "--quiet", "--orphan", "elsewhere")
    head = repository.write({"main.py": "other\n"}).commit("Other")
    repository.git("checkout", "--quiet", "-f", "main")

    with pytest.raises(MergeConflictError, match="no history in common"):
        merge(repository, head, tmp_path)


@pytest.mark.parametrize("head", ["0" * 40, "--upload-pack=touch /tmp/x", "main"])
def test_a_head_that_is_gone_or_none_is_the_commits_fault(
    repository: ModelRepository, tmp_path: Path, head: str
) -> None:
    with pytest.raises(RejectedError, match=r"not in the repository any more|is not the id of a commit"):
        merge(repository, head, tmp_path)


def test_a_head_that_only_githubs_ref_has_is_found(repository: ModelRepository, tmp_path: Path) -> None:
    head = repository.propose(7, {"more.py": "more\n"})
    repository.git("update-ref", "refs/pull/7/head", head)
    repository.git("branch", "--quiet", "-D", "pull-request-7")

    _, source = merge(repository, head, tmp_path)
    assert (source / "more.py").exists()


def test_an_unreachable_server_is_asked_again(repository: ModelRepository, tmp_path: Path) -> None:
    head = repository.propose(7, {"more.py": "more\n"})
    repository.path.rename(repository.path.with_name("moved"))
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        merge(repository, head, tmp_path)


def test_a_history_that_is_too_large_is_refused(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = repository.propose(7, {"large.bin": bytes(range(256)) * 4096})
    monkeypatch.setattr(git_merge, "MAX_PACK_BYTES", 4096)
    with pytest.raises(RejectedError, match="history is larger than"):
        merge(repository, head, tmp_path)


def test_a_link_out_of_the_repository_is_refused(repository: ModelRepository, tmp_path: Path) -> None:
    repository.git("checkout", "--quiet", "-B", "pull-request-7", "main")
    (repository.path / "link").symlink_to("/etc/passwd")
    head = repository.commit("Link")
    repository.git("checkout", "--quiet", "main")
    with pytest.raises(RejectedError, match="symbolic link"):
        merge(repository, head, tmp_path)
