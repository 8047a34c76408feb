"""Checks of open pull requests: queued, ended, and their files removed when nobody needs them."""

from collections.abc import Collection

from loguru import logger
from sqlalchemy.orm import Session

from common.system import filelock
from db import check_runs, checks, merge_groups, rechecks
from ml.paths import HomeLayout
from ml.sandbox import rmtree, uids
from ml.settings import ModelConfig


def queue_checks(session: Session, model: ModelConfig) -> None:
    """Queue what has to be checked of a model, and end the checks that nobody waits for."""
    if not (model.has_pull_requests and model.checks.on):
        checks.end_checks(session, model.name, checks.CHECKS_OFF)
        return
    queued = checks.queue_checks(session, model.name, model.repository, model.branch, model.checks.trust)
    for release in queued:
        logger.info(
            "#{} at {}: check {} of {}", release.pull_request, release.commit[:8], release.id, release.model
        )
    merge_groups.reuse_checks(session, model.name)


def queue_requested(session: Session, model: ModelConfig) -> None:
    """Check again what somebody asked for at GitHub, as the button of the page does.

    What is not checked again is shown there as it was.
    """
    taken = rechecks.take_requests(session, model.name)
    wanted = {commit for name, commit, is_followed in taken if is_followed and name == model.repository}
    queued = queue_heads(session, model, wanted) if wanted else set()
    for repository, commit, _ in taken:
        if commit not in queued:
            check_runs.show_again(session, repository, commit, model.name)


def queue_heads(session: Session, model: ModelConfig, wanted: Collection[str]) -> set[str]:
    """Queue another check of each open pull request at one of these heads; return the heads."""
    if not (model.has_pull_requests and model.checks.on):
        return set()
    heads = set()
    for pull in checks.list_open(session, model.repository, model.branch):
        if pull.head in wanted:
            queued = checks.queue_again(session, model.name, model.repository, pull, model.checks.trust)
            if queued is not None:
                heads.add(pull.head)
                logger.info("#{} at {}: check {}, for GitHub", pull.number, pull.head[:8], queued.id)
    return heads


def end_unfollowed(session: Session, models: list[str]) -> None:
    """End the checks of models that are no longer configured; named again, they are queued again."""
    checks.end_unfollowed(session, models)


def prune_checks(session: Session, model: ModelConfig) -> None:
    """Mark the checks whose files nobody needs any more."""
    pulls = checks.list_open(session, model.repository, model.branch)
    for release in checks.prune_checks(session, model.name, [pull.number for pull in pulls]):
        logger.info("check {} of {} was pruned", release.id, release.model)
    if not (model.has_pull_requests and model.checks.on):  # else its queue is listed for that
        merge_groups.end_gone(session, model.name, merge_groups.NO_QUEUE)


def sweep_isolated(home: HomeLayout, kept: set[str]) -> bool:
    """Remove caches, environments and users of checks not in `kept`. Call it while nothing is built.

    Return whether all of them are gone: those of a check whose preview runs stay.
    """
    unused = list_isolated(home) - kept
    previewed = {name for name in unused if filelock.is_locked(home.isolation_lock(name))}
    for name in unused:
        if name in previewed:
            continue
        rmtree.remove_tree(home.model_package_cache(name))
        for folder in (home.root / "environments").glob(f"*-{name}"):
            rmtree.remove_tree(folder)
        uids.forget(home.root, name)
        home.isolation_lock(name).unlink(missing_ok=True)
    return not previewed


def list_isolated(home: HomeLayout) -> set[str]:
    """Return the names by which code of checks is kept apart here; without root no name has a user."""
    caches = (home.root / "cache").glob("packages-*@*")
    names = [*uids.list_names(home.root), *(folder.name.removeprefix("packages-") for folder in caches)]
    return {name for name in names if "@" in name}
