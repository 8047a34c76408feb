"""The child process that finds the newest of several merges of one second, and queues it."""

import sys

from loguru import logger

from common import log
from common.errors import UnavailableError
from db import newest, pull_requests, release_queue
from db.session import create_sessionmaker
from ml.controller.reconciler import MAX_MERGES
from ml.git_token import use_git_token
from ml.paths import HomeLayout
from ml.settings import MlSettings
from ml.sources import git_checkout


def main(name: str) -> None:
    settings = MlSettings()
    log.configure("order", settings.log)
    model = next(model for model in settings.list_models() if model.name == name)
    sessions = create_sessionmaker(settings.database_url)
    with sessions.begin() as session:
        merges = pull_requests.list_accepted(session, model.repository, model.branch, MAX_MERGES)
    try:
        with use_git_token(settings, sessions, model.repository) as access:
            ancestors = git_checkout.count_ancestors(
                model,
                newest.commits_of_newest_second(merges),
                clone=HomeLayout(settings.home.absolute()).repository_path(name),
                token=access.github_token,
                host=access.github_host,
            )
    except UnavailableError as fault:
        logger.warning("the order of merges of {} is determined later: {}", name, fault)
        return
    with sessions.begin() as session:
        ordered, ends = newest.sort_merges(merges, ancestors), model.is_whole_repository
        release = release_queue.queue_merges(session, name, ordered, ends_retrainings=ends)
    if release:
        logger.info("#{} is the newest of {}: release {}", release.pull_request, name, release.id)


if __name__ == "__main__":
    main(sys.argv[1])
