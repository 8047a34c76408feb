"""The model's `entry_point`: imported from its repository and checked for its four methods."""

from __future__ import annotations

import importlib
import os
from typing import Any

from . import imports, workplace
from .fault import Fault, call

METHODS = ("train", "evaluate", "predict", "info")


def load(source: str, entry_point: str = "main:entry_point") -> Any:
    """The object `module:name` of the repository in `source`, with all four methods, or a `Fault`."""
    module_name, _, name = entry_point.partition(":")
    file = module_name.replace(".", "/") + ".py"
    if not (os.path.isfile(f"{source}/{file}") or os.path.isfile(f"{source}/{file[:-3]}/__init__.py")):
        raise Fault(
            f"the repository has no {file}: Slipway imports `{name}` from it. Add it, or name another "
            "with [model] entry_point in slipway.toml"
        )
    imports.add(source)
    workplace.enter(source)
    module = call(f"import {module_name}", importlib.import_module, module_name)
    if not hasattr(module, name):
        raise Fault(
            f"{file} has no `{name}`: end it with `{name} = YourModel()`, an object with the methods "
            + ", ".join(METHODS)
        )
    found = getattr(module, name)
    if isinstance(found, type):
        found = call(name, found)
    missing = [method for method in METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise Fault(
            f"{name} in {file} has no method {' and no '.join(missing)}: it needs {', '.join(METHODS)}"
        )
    return found
