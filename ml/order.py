"""Finds out which of several merges of one second is newest, and queues it: `python -m ml.order MODEL`."""

import sys

from loguru import logger

from common import log
from db import newest, pull_requests, releases
from db.session import sessions
from ml.errors import Unavailable
from ml.home import Home
from ml.settings import Settings
from ml.stages import checkout
from ml.watch import LOOKED_AT


def main(name: str) -> None:
    settings = Settings()
    log.configure("order", settings.log)
    model = next(model for model in settings.models() if model.name == name)
    make = sessions(settings.database_url)
    with make.begin() as session:
        merges = pull_requests.accepted(session, model.repository, model.branch, LOOKED_AT)
    try:
        ancestors = checkout.count_ancestors(
            model,
            newest.of_the_newest_second(merges),
            clone=Home(settings.home.absolute()).repository(name),
            token=settings.github_token,
            host=settings.github_host,
        )
    except Unavailable as fault:
        logger.warning("the order of merges of {} is looked for again later: {}", name, fault)
        return
    with make.begin() as session:
        release = releases.queue_merges(session, name, newest.in_order(merges, ancestors))
    if release:
        logger.info("#{} is the newest of {}: release {}", release.pull_request, name, release.id)


if __name__ == "__main__":
    main(sys.argv[1])
