"""What is exported of a repository for a model in one of its folders: that, what is named, and no more."""

import shutil
from dataclasses import replace
from pathlib import Path

import git
import pytest
from pydantic import ValidationError

from common.errors import RejectedError
from common.models_file import MODEL_ENTRIES, ModelEntry
from ml.controller import gc
from ml.paths import find_export
from ml.settings import ModelConfig
from ml.sources import git_export, git_tree
from tests.harness.repositories import ModelRepository

HOSTILE = {
    "a parent": "../other",
    "a parent within": "models/../../x",
    "the root": "/etc",
    "nothing but a dot": ".",
    "git's own folder": "models/.git/hooks",
    "git's own folder for a Mac": ".GIT",
    "a NUL": "models\0churn",
    "a line": "models\nchurn",
    "too long": "a/" * 300,
}


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    made = ModelRepository(tmp_path / "made")
    made.write({"models/churn/main.py": "1", "models/churn2/main.py": "2", "libs/a.py": "a", "x.txt": "x"})
    made.commit("First")
    return made


@pytest.fixture
def model(repository: ModelRepository) -> ModelConfig:
    return ModelConfig("churn", "acme/models", repository.url, "main", path="models/churn", paths=("libs",))


def export(repository: ModelRepository, model: ModelConfig, into: Path) -> list[str]:
    """Export the newest commit; return the files."""
    opened = git.Repo(repository.path)
    opened.git.update_environment(GIT_DIR=str(repository.path / ".git"))
    git_export.export_model(opened, repository.head, model, into)
    found = find_export(into)
    return sorted(str(file.relative_to(found)) for file in found.rglob("*") if not file.is_dir())


def read_files(repository: ModelRepository, model: ModelConfig) -> str:
    return git_export.read_files(git.Repo(repository.path), repository.head, model)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_path_out_of_the_repository_is_no_path(name: str) -> None:
    for key in ({"path": HOSTILE[name]}, {"path": "models", "paths": [HOSTILE[name]]}):
        with pytest.raises(ValidationError, match="is not a path in the repository"):
            MODEL_ENTRIES.validate_python({"churn": {"repository": "acme/models", **key}})


def test_paths_are_normalised_and_need_a_path() -> None:
    entry = ModelEntry(repository="acme/models", path="./models//churn/", paths=["libs/"])
    assert (entry.path, entry.paths) == ("models/churn", ["libs"])
    with pytest.raises(ValidationError, match="paths needs path"):
        ModelEntry(repository="acme/models", paths=["libs"])
    with pytest.raises(ValidationError, match="at most 50 items"):
        ModelEntry(repository="acme/models", path="a", paths=["b"] * 51)


def test_a_folder_with_a_longer_name_is_another(
    repository: ModelRepository, model: ModelConfig, tmp_path: Path
) -> None:
    into = tmp_path / "1/source"
    assert export(repository, model, into) == ["libs/a.py", "models/churn/main.py"]
    assert (into / "main.py").read_text() == "1"
    nested = replace(model, paths=("models", "x.txt", "gone"))
    assert nested.folders == ("gone", "models", "x.txt")
    files = export(repository, nested, tmp_path / "2/source")
    assert files == ["models/churn/main.py", "models/churn2/main.py", "x.txt"]


def test_a_path_is_no_pattern(repository: ModelRepository, model: ModelConfig, tmp_path: Path) -> None:
    odd = {"models/[c]*/main.py": "odd", ":(top)x/main.py": "magic", "-x/main.py": "option"}
    repository.write(odd).commit("Odd")
    for number, name in enumerate(odd):
        each = replace(model, path=str(Path(name).parent), paths=())
        assert export(repository, each, tmp_path / f"{number}/source") == [name]


def test_the_id_of_the_files_is_of_these_files_alone(repository: ModelRepository, model: ModelConfig) -> None:
    before = read_files(repository, model)
    repository.write({"x.txt": "y", "models/churn2/main.py": "3"}).commit("Others")
    assert read_files(repository, model) == before
    repository.write({"libs/a.py": "b"}).commit("Shared")
    changed = read_files(repository, model)
    assert read_files(repository, replace(model, path="libs", paths=("models/churn",))) != changed
    repository.write({"libs/a.py": None}).commit("No libs")
    assert len({before, changed, read_files(repository, model)}) == 3


def test_only_links_within_what_is_exported_are_allowed(
    repository: ModelRepository, model: ModelConfig, tmp_path: Path
) -> None:
    (repository.path / "models/churn/a.py").symlink_to("../../libs/a.py")
    repository.commit("A link to a named folder")
    assert "models/churn/a.py" in export(repository, model, tmp_path / "1/source")
    (repository.path / "models/churn/b.py").symlink_to("../../../logs/train.log")
    repository.commit("A link to the logs of a release")
    with pytest.raises(RejectedError, match=r"b\.py is a symbolic link to \.\./\.\./\.\./logs/train\.log"):
        export(repository, model, tmp_path / "2/source")


@pytest.mark.parametrize("kind", ["file", "link", "missing"])
def test_what_is_no_folder_is_refused(
    repository: ModelRepository, model: ModelConfig, tmp_path: Path, kind: str
) -> None:
    (repository.path / "link").symlink_to("models/churn")
    repository.commit("A link")
    path = {"file": "x.txt", "link": "link", "missing": "models/nowhere"}[kind]
    with pytest.raises(RejectedError, match=f"path = '{path}' for churn, and this commit has no such folder"):
        export(repository, replace(model, path=path), tmp_path / "1/source")


def test_only_what_is_exported_is_judged(
    repository: ModelRepository, model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submodule, and thousands of files, are of no consequence in another folder."""
    repository.write({f"other/{number}": "" for number in range(20)})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},other/module")
    repository.git("add", "--all", "--", "other/1", "other/2", "other/3", "other/4")
    repository.git("commit", "--quiet", "--message=Other")
    monkeypatch.setattr(git_tree, "MAX_FILES", 3)
    assert export(repository, model, tmp_path / "1/source") == ["libs/a.py", "models/churn/main.py"]
    with pytest.raises(RejectedError, match="is a git submodule"):
        export(repository, replace(model, paths=("other/module",)), tmp_path / "2/source")
    with pytest.raises(RejectedError, match="the repository is too large"):
        export(repository, replace(model, paths=("other/1", "other/2", "other/3")), tmp_path / "2/source")


def test_an_export_that_was_killed_is_made_again(
    repository: ModelRepository, model: ModelConfig, tmp_path: Path
) -> None:
    into = tmp_path / "1/source"
    export(repository, model, into)
    into.unlink()
    (tmp_path / "1/source.new").symlink_to("repository/models/churn")
    (tmp_path / "1/repository/left.txt").write_text("by the one that was killed")
    assert export(repository, model, into) == ["libs/a.py", "models/churn/main.py"]


def test_another_path_is_another_export(
    repository: ModelRepository, model: ModelConfig, tmp_path: Path
) -> None:
    into = tmp_path / "1/source"
    export(repository, model, into)
    export(repository, replace(model, path="models/churn2"), into)
    assert (into / "main.py").read_text() == "2"
    assert "x.txt" in export(repository, replace(model, path="", paths=()), into)
    assert not into.is_symlink()
    assert export(repository, model, into) == ["libs/a.py", "models/churn/main.py"]


def test_a_release_that_is_cleared_leaves_nothing(
    repository: ModelRepository, model: ModelConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "1"
    export(repository, model, folder / "source")
    gc.clear_release(folder)
    assert list(folder.iterdir()) == []
    export(repository, model, folder / "source")
    shutil.rmtree(folder / "repository")
    assert not (folder / "source").exists(), "a dangling link counts as gone"
