"""Puts a repository on the import path as `python main.py` would, with one difference.

A repository may have a module named like one of the standard library's (`json.py`, `random.py`). Its own
files get theirs, and what theirs has not, from the standard library's; everybody else (pandas, this folder)
gets the standard library's.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

OWN = "_slipway_repository_"  # their `json` is the module `_slipway_repository_json`


def standard_library() -> frozenset[str]:
    names = getattr(sys, "stdlib_module_names", None)  # Python >= 3.10
    if names is not None:
        return frozenset(names)
    folder = os.path.dirname(os.__file__)
    found = {entry.split(".", 1)[0] for entry in os.listdir(folder)}
    return frozenset(found | set(sys.builtin_module_names))


def add(source: str) -> None:
    """Make the modules in the folder `source` importable."""
    source = os.path.realpath(source)
    sys.path.insert(0, source)
    shared = {name for name in map(module_name, os.listdir(source)) if name in standard_library()}
    if shared:
        sys.meta_path.insert(0, StandardLibraryFirst(source, shared))
        builtins.__import__ = OwnFirst(source, shared)


def module_name(entry: str) -> str:
    return entry[:-3] if entry.endswith(".py") else entry


class StandardLibraryFirst:
    """For everybody but the repository's own files: shared names are looked for elsewhere."""

    def __init__(self, source: str, shared: set[str]) -> None:
        self.source, self.shared = source, shared

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if path is not None:
            return None
        if name in self.shared:
            return PathFinder.find_spec(name, [entry for entry in sys.path if entry != self.source])
        if name.startswith(OWN):
            return own_spec(self.source, name)
        return None


def own_spec(source: str, name: str) -> ModuleSpec | None:
    """Where the module `OWN + shared` is: a file or a package of the repository."""
    stem = os.path.join(source, name[len(OWN) :])
    if os.path.isfile(stem + ".py"):
        return importlib.util.spec_from_file_location(name, stem + ".py")
    init = stem + "/__init__.py"
    if os.path.isfile(init):
        return importlib.util.spec_from_file_location(name, init, submodule_search_locations=[stem])
    return None


class OwnFirst:
    """`import` as the repository's own files see it: a shared name is their module."""

    def __init__(self, source: str, shared: set[str]) -> None:
        self.prefix, self.shared, self.usual = source + os.sep, shared, builtins.__import__

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 (the name that `import` passes)
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.split(".", 1)[0]
        if level == 0 and top in self.shared and self.is_theirs(globals or {}, name):
            try:
                self.load(top)
                return self.usual(OWN + name, globals, locals, fromlist or (), 0)
            except ModuleNotFoundError as error:
                if not (error.name or "").startswith(OWN):
                    raise  # else: a part that only the standard library's has, as in `import json.decoder`
        return self.usual(name, globals, locals, fromlist or (), level)

    def is_theirs(self, importer: Mapping[str, Any], name: str) -> bool:
        """Whether a file of the repository asks; their `json.py` means the standard one by `import json`."""
        file = str(importer.get("__file__") or "")
        return file.startswith(self.prefix) and importer.get("__name__") != OWN + name

    def load(self, top: str) -> None:
        """Import their module; what it has not is looked for in the standard library's."""
        theirs, standard = importlib.import_module(OWN + top), importlib.import_module(top)
        if "__getattr__" not in vars(theirs):
            vars(theirs)["__getattr__"] = lambda attribute: getattr(standard, attribute)
