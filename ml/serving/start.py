"""Starts the workers of a release, whatever of it has to be brought back for that."""

from collections.abc import Callable
from dataclasses import replace

from db.models import Release
from ml.home import Home
from ml.restore import restore
from ml.serving.answers import Label
from ml.serving.pool import Limits, Pool
from ml.serving.tally import Work
from ml.serving.threads import aside
from ml.serving.worker import Recipe
from ml.settings import Model, Settings


async def start(
    model: Model,
    settings: Settings,
    release: Release,
    limits: Limits,
    tell: Callable[[str], None],
    *,
    work: Work | None = None,
) -> Pool:
    """A pool that can be asked; close it. `tell` hears of what takes long, `work` counts what is done.

    Raises `Rejected` when the release cannot run, `Unavailable` when it cannot be brought back now.
    """
    ready = await aside(restore, settings, model, release, tell)
    recipe = Recipe(
        ready.room,
        ready.artifact,
        ready.entry_point,
        release.kind,
        ready.log,
        Home(settings.home.absolute()).release(release.id) / "serve",
    )
    limits = replace(limits, load_timeout=ready.load_timeout)
    pool = Pool(recipe, limits, Label(release.model, release.id, release.commit), work)
    await pool.open()
    return pool
