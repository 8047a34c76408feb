"""The installation of the MLflow server's virtual environment: `python -m mlflow_server.install`."""

import sys
from pathlib import Path

from loguru import logger

from common import log
from common.settings import load_settings
from common.system.pinned_venv import CACHE_HINT, InstallError, PinnedVenv, remove_unused
from mlflow_server.settings import REQUIREMENTS, MlflowInstallSettings


def install(folder: Path) -> PinnedVenv:
    """Return the environment in `folder`, made where missing or outdated; a concurrent call waits."""
    environment = PinnedVenv(folder, REQUIREMENTS)
    environment.ensure_current(
        lambda: logger.info("building the environment of the MLflow server; the first time takes a while")
    )
    remove_unused(folder.parent)
    return environment


def ensure_installed(settings: MlflowInstallSettings) -> PinnedVenv:
    """Return the server's environment; exit with what to do when it cannot be made."""
    try:
        return install(settings.venv_folder)
    except InstallError as error:
        sys.exit(f"the MLflow server's environment could not be made: {error}")
    except OSError as error:
        sys.exit(f"MLflow's environment cannot be stored in {settings.venv_folder}: {error}; {CACHE_HINT}")


def main() -> None:
    settings = load_settings(MlflowInstallSettings)
    log.configure("mlflow", settings.log)
    ensure_installed(settings)


if __name__ == "__main__":
    main()
