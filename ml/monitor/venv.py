"""The monitor's virtual environment, made when the first measurement needs it."""

from functools import cache

from common.settings import load_settings
from common.system.pinned_venv import CACHE_HINT, InstallError, PinnedVenv
from ml.monitor.install import install
from ml.monitor.program import MeasurementError
from ml.monitor.settings import MonitorInstallSettings


def require_venv() -> PinnedVenv:
    """Return the environment, made where it is missing; raises `MeasurementError`."""
    found = make_once()
    if isinstance(found, str):
        raise MeasurementError(f"the monitor's environment could not be made: {found}")
    return found


@cache
def make_once() -> PinnedVenv | str:
    """Return the environment, or why there is none: other models do not wait for another try."""
    folder = load_settings(MonitorInstallSettings).venv_folder
    try:
        return install(folder)
    except InstallError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be stored in {folder}: {error}; {CACHE_HINT}"
