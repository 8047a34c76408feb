"""The installation of the MLflow server's virtual environment: `python -m mlflow_server.install`."""

from pathlib import Path

from loguru import logger

from common import log
from common.settings import load_settings
from common.system.pinned_venv import PinnedVenv, exit_on_failure, remove_unused
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
    with exit_on_failure("MLflow's environment", settings.venv_folder):
        return install(settings.venv_folder)


def main() -> None:
    settings = load_settings(MlflowInstallSettings)
    log.configure("mlflow", settings.log)
    ensure_installed(settings)


if __name__ == "__main__":
    main()
