"""The loader module of a pyfunc model, with the function that MLflow calls."""

from .pyfunc import PyfuncRelease


def _load_pyfunc(path: str) -> PyfuncRelease:
    return PyfuncRelease(path)
