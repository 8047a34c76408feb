"""Makes the virtual environment that the MLflow server runs in: `python -m tracker.install`."""

import sys
from pathlib import Path

from loguru import logger

from common import log
from common.environments import Environment, NotInstalled, locked
from common.settings import read
from tracker.settings import InstallSettings

REQUIREMENTS = Path(__file__).parents[1] / "resources" / "mlflow" / "requirements.txt"


def install(folder: Path) -> Environment:
    """The environment in `folder`, made where it is missing or out of date; two at once: the second waits."""
    environment = Environment(folder, REQUIREMENTS)
    if environment.done:  # in an image nothing could be locked
        return environment
    with locked(folder.parent / "lock"):
        if not environment.done:
            logger.info("making the environment of the MLflow server; the first time takes a while")
            environment.make()
    return environment


def ready(settings: InstallSettings) -> Environment:
    """The server's environment; ends the process with what to do when there can be none."""
    try:
        return install(settings.environment)
    except NotInstalled as error:
        sys.exit(f"the MLflow server's environment could not be made: {error}")
    except OSError as error:
        sys.exit(f"the MLflow server's environment cannot be kept in {settings.environment}: {error}")


def main() -> None:
    settings = read(InstallSettings)
    log.configure("mlflow", settings.log)
    ready(settings)


if __name__ == "__main__":
    main()
