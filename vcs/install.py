"""The installation of the virtual environments of Singer's tap and target: `python -m vcs.install`."""

from pathlib import Path

from loguru import logger

from common import log
from common.system.pinned_venv import PinnedVenv, exit_on_failure, lock_folder, remove_unused
from vcs.settings import REQUIREMENTS, SingerInstallSettings


def part_venv(home: Path, part: str) -> PinnedVenv:
    return PinnedVenv(home / part, REQUIREMENTS[part])


def part_python(home: Path, part: str) -> Path:
    return part_venv(home, part).python


def is_installed(home: Path) -> bool:
    """Return whether both environments exist and were made from the current requirements."""
    return all(part_venv(home, part).is_current for part in REQUIREMENTS)


def install(home: Path) -> None:
    """Make missing or outdated environments in `home`; a concurrent call waits, then finds them made."""
    if not is_installed(home):  # else nothing has to be written, and perhaps nothing can
        with lock_folder(home):
            for part in REQUIREMENTS:
                if not part_venv(home, part).is_current:
                    logger.info("building the environment of Singer's {}", part)
                    part_venv(home, part).create()
    remove_unused(home)


def main() -> None:
    settings = SingerInstallSettings()
    log.configure("singer", settings.log)
    with exit_on_failure("Singer's environments", settings.singer_home):
        install(settings.singer_home)


if __name__ == "__main__":
    main()
