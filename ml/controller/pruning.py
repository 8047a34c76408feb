"""What is pruned of each model, and of models that are followed no more."""

import time
from collections.abc import Collection
from pathlib import Path

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import checks, merge_groups, releases, retraining_pruning
from ml.paths import HomeLayout
from ml.settings import MlSettings

UNFOLLOWED_SECONDS = 30 * 24 * 3600  # until only what a rollback needs stays of a model not followed


def prune_artifacts(session: Session, model: str, keep: int) -> None:
    """Prune all but the newest trained models of a model, and those that live or a rollback needs."""
    for release in releases.prune_artifacts(session, model, keep):
        logger.info("release {} of {} was pruned", release.id, model)


def prune_unfollowed(sessions: sessionmaker[Session], home: HomeLayout, settings: MlSettings) -> None:
    """Prune models that have been followed no more for `UNFOLLOWED_SECONDS`.

    The live release stays, with what a rollback from it goes to, should the model come back; its retrainings
    are forgotten. Without room on the disk for the note of a model, that is noted later.
    """
    followed = {model.name for model in settings.list_models()}
    with sessions.begin() as session:
        unfollowed = {
            *releases.list_unfollowed(session, followed),
            *retraining_pruning.list_unfollowed(session, followed),
        }
    for model in find_expired(home, unfollowed):
        with sessions.begin() as session:
            checks.prune_checks(session, model, ())
            merge_groups.end_gone(session, model, merge_groups.NO_QUEUE)
            prune_artifacts(session, model, 0)
            retraining_pruning.forget_model(session, model)


def find_expired(home: HomeLayout, unfollowed: Collection[str]) -> list[str]:
    """Return the models not followed for long enough; note since when each is, and forget the others."""
    since = home.unfollowed
    for note in since.iterdir() if since.is_dir() else ():
        if note.name not in unfollowed:
            note.unlink(missing_ok=True)
    noted = [model for model in unfollowed if note_unfollowed(since / model)]
    return [model for model in noted if time.time() - (since / model).stat().st_mtime >= UNFOLLOWED_SECONDS]


def note_unfollowed(note: Path) -> bool:
    """Make a model's note, of which an old one keeps its time; return False where the disk has no room."""
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.open("a").close()
    except OSError as error:
        logger.warning("it is not noted that {} is followed no more: {}", note.name, error.strerror)
        return False
    return True
