"""Makes the two virtual environments that Singer's tap and target run in: `python -m vcs.install`."""

import sys
from pathlib import Path

from loguru import logger

from common import log
from common.environments import Environment, NotInstalled, locked
from vcs.settings import InstallSettings

REQUIREMENTS = Path(__file__).parents[1] / "resources" / "singer"
PARTS = ("tap", "target")  # they cannot share one: `jsonschema` 2 against 4


def environment(home: Path, part: str) -> Environment:
    return Environment(home / part, REQUIREMENTS / f"{part}.txt")


def python(home: Path, part: str) -> Path:
    return environment(home, part).python


def installed(home: Path) -> bool:
    """Whether both environments are there and made from today's requirements."""
    return all(environment(home, part).done for part in PARTS)


def install(home: Path) -> None:
    """Make what is missing or out of date in `home`; two at once: the second waits, then finds it done."""
    with locked(home / "lock"):
        for part in PARTS:
            if not environment(home, part).done:
                logger.info("making the environment of Singer's {}", part)
                environment(home, part).make()


def main() -> None:
    settings = InstallSettings()
    log.configure("singer", settings.log)
    try:
        install(settings.singer_home)
    except NotInstalled as error:
        sys.exit(f"Singer's environments could not be made: {error}")
    except OSError as error:
        sys.exit(f"Singer's environments cannot be kept in {settings.singer_home}: {error}")


if __name__ == "__main__":
    main()
