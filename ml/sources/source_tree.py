"""The files of a release: those of its commit, or for a check those of the merge that it stands for."""

from dataclasses import dataclass
from pathlib import Path

from db.models import Release
from db.states import Trigger
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig
from ml.sources import git_checkout, git_export, git_merge, git_merge_groups
from ml.stage_log import LogLine


@dataclass(frozen=True)
class SourceTree:
    """A folder with a release's files, git's id of the whole tree, and for a check what it was merged onto.

    `files` is the id of the files that the model is made of, `base_files` the same of the commit `base`.
    """

    path: Path
    tree: str | None  # these are None where our clone no longer has the commit
    files: str | None
    base: str | None = None
    base_files: str | None = None


def checkout_release(
    settings: MlSettings, model: ModelConfig, release: Release, log_line: LogLine, *, may_appear: bool = False
) -> SourceTree:
    """Check the files of a release out, or return them where they are there already.

    Raises as `git_checkout.checkout_commit` and `git_merge.checkout_merge` do.
    """
    home = HomeLayout(settings.home.absolute())
    source, access = (
        home.source_path(release.id),
        {"token": settings.github_token, "host": settings.github_host},
    )
    if release.path is None and model.path:  # a killed builder may have exported what other paths named
        git_export.remove_export(source)
    if release.trigger is Trigger.CHECK and release.ref is not None and release.base is not None:
        group = git_merge_groups.checkout_group(
            model,
            release.commit,
            base=release.base,
            clone=home.merge_repository_path(model.name),
            into=source,
            log_line=log_line,
            **access,
        )
        return SourceTree(source, group.tree, group.files, group.base, group.base_files)
    if release.trigger is Trigger.CHECK:
        merged = git_merge.checkout_merge(
            model,
            release.commit,
            release.pull_request or 0,
            base=release.base,
            clone=home.merge_repository_path(model.name),
            into=source,
            log_line=log_line,
            **access,
        )
        return SourceTree(source, merged.tree, merged.files, merged.base, merged.base_files)
    clone = home.repository_path(model.name)
    git_checkout.checkout_commit(
        model,
        release.commit,
        clone=clone,
        into=source,
        may_appear=may_appear,
        log_line=log_line,
        **access,
    )
    if release.tree is not None and release.files is not None:
        return SourceTree(source, release.tree, release.files)
    found = git_checkout.read_tree(model, release.commit, clone=clone)
    return SourceTree(source, *(found or (None, None)))
