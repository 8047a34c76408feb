"""Looks for new `v*` tags of one model and queues the newest: `python -m ml.tags MODEL`, started by watch."""

import sys

from loguru import logger

from common import log
from db import releases
from db.session import sessions
from ml.errors import Unavailable
from ml.settings import Settings
from ml.stages import checkout


def main(name: str) -> None:
    settings = Settings()
    log.configure("tags", settings.log)
    model = next(model for model in settings.models() if model.name == name)
    try:
        tags = checkout.tags(model, token=settings.github_token, host=settings.github_host)
    except Unavailable as fault:
        logger.warning("the tags of {} are looked for again later: {}", name, fault)
        return
    with sessions(settings.database_url).begin() as session:
        release = releases.queue_tags(session, name, model.repository, tags)
    if release:
        logger.info("{} of {}: release {}, commit {}", release.ref, name, release.id, release.commit[:8])


if __name__ == "__main__":
    main(sys.argv[1])
