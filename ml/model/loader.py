"""What MLflow looks for in a pyfunc model's loader module."""

from .pyfunc import Release


def _load_pyfunc(path: str) -> Release:
    return Release(path)
