"""The installation of the virtual environment of the monitor: `python -m ml.monitor.install`."""

from pathlib import Path

from loguru import logger

from common import log
from common.settings import load_settings
from common.system.pinned_venv import PinnedVenv, exit_on_failure, mark_in_use, remove_unused
from ml.monitor.settings import REQUIREMENTS, MonitorInstallSettings

DRIFT_PROGRAM = Path(__file__).parent / "drift" / "__main__.py"


def install(folder: Path) -> PinnedVenv:
    """Return the environment in `folder`, made where missing or outdated; a concurrent call waits."""
    environment = PinnedVenv(folder, REQUIREMENTS)
    environment.ensure_current(lambda: logger.info("building the environment of the monitor"))
    mark_in_use(folder.parent)
    remove_unused(folder.parent)
    return environment


def drift_command(environment: PinnedVenv) -> list[str]:
    """Return the command of the drift process, which reads its request from stdin."""
    return [str(environment.python), "-I", str(DRIFT_PROGRAM)]


def main() -> None:
    settings = load_settings(MonitorInstallSettings)
    log.configure("monitor", settings.log)
    with exit_on_failure("the monitor's environment", settings.venv_folder):
        install(settings.venv_folder)


if __name__ == "__main__":
    main()
