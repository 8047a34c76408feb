"""The installation of Apprise's virtual environment: `python -m vcs.notifications.install`."""

from pathlib import Path

from loguru import logger

from common import log
from common.settings import load_settings
from common.system.pinned_venv import PinnedVenv, exit_on_failure, remove_unused
from vcs.notifications.settings import REQUIREMENTS, AppriseInstallSettings


def make_venv(folder: Path) -> PinnedVenv:
    return PinnedVenv(folder, REQUIREMENTS)


def install(folder: Path) -> PinnedVenv:
    """Return the environment in `folder`, made where missing or outdated; a concurrent call waits."""
    environment = make_venv(folder)
    if environment.is_current:  # in an image nothing could be removed
        return environment
    environment.ensure_current(lambda: logger.info("building the environment of Apprise"))
    remove_unused(folder.parent)
    return environment


def main() -> None:
    settings = load_settings(AppriseInstallSettings)
    log.configure("notify", settings.log)
    with exit_on_failure("Apprise's environment", settings.venv_folder):
        install(settings.venv_folder)


if __name__ == "__main__":
    main()
