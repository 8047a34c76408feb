"""The files that a model is made of: of its whole repository, or of the folders that it lies in and uses."""

import hashlib
import os
from pathlib import Path

import git

from common.errors import RejectedError
from common.system.durable import move_into_place
from ml.paths import EXPORT_NAME
from ml.sandbox import rmtree
from ml.settings import ModelConfig
from ml.sources.git_tree import check_tree, export_tree, find_parts


def export_model(repository: git.Repo, tree: str, model: ModelConfig, into: Path) -> tuple[int, int]:
    """Export a model's files unless they are there; return their number and bytes.

    Of a model in a folder only that and its `paths` are exported, and `into` is a link to the folder: code
    that reads what is not named fails, instead of being live while that changes. Raises `RejectedError`.
    """
    found = check_tree(repository, tree, model.folders)
    if is_exported(into, model):
        return found
    remove_export(into)
    if not model.path:
        export_tree(repository, tree, into)
        return found
    if not any(part.is_folder for part in find_parts(repository, tree, [model.path])):
        raise RejectedError(
            f"models.toml has path = {model.path!r} for {model.name}, and this commit has no such folder"
        )
    export = into.with_name(EXPORT_NAME)
    export_tree(repository, tree, export, find_parts(repository, tree, model.folders))
    (export / model.path).mkdir(parents=True, exist_ok=True)  # git exports no empty folder
    link = into.with_name(f"{into.name}.new")
    link.symlink_to(name_target(model))
    move_into_place(link, into)
    return found


def is_exported(into: Path, model: ModelConfig) -> bool:
    """Return whether a model's files are there, and where its path wants them."""
    target = os.readlink(into) if into.is_symlink() else ""  # noqa: PTH115 (its text is compared)
    return into.exists() and target == name_target(model)


def name_target(model: ModelConfig) -> str:
    """Return the link to the model's folder in what is exported; nothing where that is the model's alone."""
    return f"{EXPORT_NAME}/{model.path}" if model.path else ""


def remove_export(into: Path) -> None:
    """Remove a model's files, the link to them first, and what an export that was killed has left."""
    if into.is_symlink():
        into.unlink()
    link = into.with_name(f"{into.name}.new")
    if link.is_symlink():
        link.unlink()
    for folder in (into, link, into.with_name(EXPORT_NAME)):
        rmtree.remove_tree(folder)


def read_files(repository: git.Repo, commit: str, model: ModelConfig) -> str:
    """Return an id of the files that a model is made of in a commit, the same for the same files.

    It is git's own id of the whole tree, for a model in a folder a digest of git's ids of its parts.
    """
    if not model.path:
        return str(repository.git.rev_parse("--verify", f"{commit}^{{tree}}"))
    parts = {part.path: part for part in find_parts(repository, commit, model.folders)}
    digest = hashlib.sha256(f"{model.path}\0".encode())
    for path in model.folders:
        part = parts.get(path)
        digest.update(f"{path}\0{f'{part.mode} {part.id}' if part else 'none'}\0".encode())
    return digest.hexdigest()
