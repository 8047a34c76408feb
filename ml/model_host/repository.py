"""The import of the model's `entry_point` from its repository, with a check of its four methods."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from . import import_isolation, workdir
from .errors import ModelError, call_model

REQUIRED_METHODS = ("train", "evaluate", "predict", "info")


def load_entry_point(given: Mapping[str, Any]) -> Any:
    """Return the object `module:name` that a request names, of the files in its folder `source`.

    Raises `ModelError` unless it is there with all four methods.
    """
    source, entry_point = given["source"], given["entry_point"]
    module_name, _, name = entry_point.partition(":")
    file = module_name.replace(".", "/") + ".py"
    if not (os.path.isfile(f"{source}/{file}") or os.path.isfile(f"{source}/{file[:-3]}/__init__.py")):
        raise ModelError(
            f"the repository has no {file}: Slipway imports `{name}` from it. Add it, or name another "
            "with [model] entry_point in slipway.toml"
        )
    import_isolation.add_repository(source)
    workdir.enter_workdir(source, given.get("repository", source))
    module = call_model(f"import {module_name}", importlib.import_module, module_name)
    if not hasattr(module, name):
        raise ModelError(
            f"{file} has no `{name}`: end it with `{name} = YourModel()`, an object with the methods "
            + ", ".join(REQUIRED_METHODS)
        )
    found = getattr(module, name)
    if isinstance(found, type):
        found = call_model(name, found)
    missing = [method for method in REQUIRED_METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise ModelError(
            f"{name} in {file} has no method {' and no '.join(missing)}: it needs "
            f"{', '.join(REQUIRED_METHODS)}"
        )
    return found
