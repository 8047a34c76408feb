"""The child process of `watch` that prunes uv's caches, once a day after a build."""

import time
from dataclasses import replace
from pathlib import Path

from loguru import logger

from common import log
from common.errors import RejectedError, UnavailableError
from common.settings import load_settings
from common.units import format_bytes
from ml.controller import gc
from ml.environments import uv
from ml.manifest import Resources
from ml.paths import HomeLayout
from ml.sandbox import rmtree, sandbox
from ml.sandbox.sandbox import Sandbox
from ml.settings import MlSettings

DAY_SECONDS = 24 * 3600
MAX_BYTES = 20 << 30  # of each cache: a larger one is rebuilt from scratch


def is_due(home: HomeLayout) -> bool:
    """Return True when a day has passed since the last pruning, or since this was first called."""
    stamp = home.prune_log
    if not stamp.exists():
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    return time.time() - stamp.stat().st_mtime > DAY_SECONDS


def prune_all(settings: MlSettings) -> None:
    """Remove what no package needs: uv does it, sandboxed as for an install, once no other uv runs."""
    home = HomeLayout(settings.home.absolute())
    home.prune_log.parent.mkdir(parents=True, exist_ok=True)
    gc.remove_scratch(home.prune_log.parent)
    home.prune_log.write_text("")
    for index, model in enumerate(settings.list_models()):
        uv_sandbox = replace(sandbox.sandbox_for(settings, model, Resources()), disk=None)
        if index == 0:
            prune_cache(home, home.package_cache, uv_sandbox, allow_builds=False)
        prune_cache(home, home.model_package_cache(model.name), uv_sandbox, allow_builds=True)


def prune_cache(home: HomeLayout, cache: Path, sandbox: Sandbox, *, allow_builds: bool) -> None:
    if not cache.is_dir():
        return
    for arguments in (["cache", "prune"], ["cache", "clean"]):
        try:
            uv.run(
                arguments,
                cwd=home.pythons,
                cache=cache,
                pythons=home.pythons,
                log=home.prune_log,
                sandbox=sandbox,
                allow_builds=allow_builds,
            )
        except (RejectedError, UnavailableError) as error:
            logger.warning("{} was not pruned: {}", cache, error)
            return
        if (remaining := rmtree.measure_disk_usage(cache)) <= MAX_BYTES:
            return
        logger.info("{} still has {}: it is rebuilt from scratch", cache, format_bytes(remaining))


def main() -> None:
    settings = load_settings(MlSettings)
    log.configure("watch", settings.log)
    prune_all(settings)


if __name__ == "__main__":
    main()
