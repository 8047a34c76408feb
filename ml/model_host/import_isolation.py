"""A repository on the import path as with `python main.py`, isolated from the standard library.

A repository may have a module named like one of the standard library's (`json.py`, `random.py`). Its own
files get that module, and names that it lacks from the standard library's; all other code (pandas, this
folder) gets the standard library's.
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

OWN_PREFIX = "_slipway_repository_"  # the repository's `json` is the module `_slipway_repository_json`


def list_standard_library() -> frozenset[str]:
    names = getattr(sys, "stdlib_module_names", None)  # Python >= 3.10
    if names is not None:
        return frozenset(names)
    folder = os.path.dirname(os.__file__)
    found = {entry.split(".", 1)[0] for entry in os.listdir(folder)}
    return frozenset(found | set(sys.builtin_module_names))


def add_repository(source: str) -> None:
    """Make the modules in the folder `source` importable, and after all others, those in its `src`."""
    source = os.path.realpath(source)
    sys.path.insert(0, source)
    if os.path.isdir(os.path.join(source, "src")):
        sys.path.append(os.path.join(source, "src"))
    shared = {name for name in map(to_module_name, os.listdir(source)) if name in list_standard_library()}
    if shared:
        sys.meta_path.insert(0, StandardLibraryFinder(source, shared))
        builtins.__import__ = RepositoryImporter(source, shared)


def to_module_name(entry: str) -> str:
    return entry[:-3] if entry.endswith(".py") else entry


class StandardLibraryFinder:
    """The finder for all code but the repository's own files, which finds shared names elsewhere."""

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
        if name.startswith(OWN_PREFIX):
            return find_own_spec(self.source, name)
        return None


def find_own_spec(source: str, name: str) -> ModuleSpec | None:
    """Return the spec of the module `OWN_PREFIX + shared`, a file or a package of the repository."""
    stem = os.path.join(source, name[len(OWN_PREFIX) :])
    if os.path.isfile(stem + ".py"):
        return importlib.util.spec_from_file_location(name, stem + ".py")
    init = stem + "/__init__.py"
    if os.path.isfile(init):
        return importlib.util.spec_from_file_location(name, init, submodule_search_locations=[stem])
    return None


class RepositoryImporter:
    """The `import` of the repository's own files, for which a shared name is their module."""

    def __init__(self, source: str, shared: set[str]) -> None:
        self.prefix, self.shared, self.default_import = source + os.sep, shared, builtins.__import__

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 (the name that `import` passes)
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.split(".", 1)[0]
        if level == 0 and top in self.shared and self.is_from_repository(globals or {}, name):
            try:
                self.load_module(top)
                return self.default_import(OWN_PREFIX + name, globals, locals, fromlist or (), 0)
            except ModuleNotFoundError as error:
                if not (error.name or "").startswith(OWN_PREFIX):
                    raise  # else: a part of only the standard library's module, as in `import json.decoder`
        return self.default_import(name, globals, locals, fromlist or (), level)

    def is_from_repository(self, importer: Mapping[str, Any], name: str) -> bool:
        """Return True when a file of the repository imports; its `json.py` gets the standard `json`."""
        file = str(importer.get("__file__") or "")
        return file.startswith(self.prefix) and importer.get("__name__") != OWN_PREFIX + name

    def load_module(self, top: str) -> None:
        """Import the repository's module; attributes that it lacks come from the standard library's."""
        theirs, standard = importlib.import_module(OWN_PREFIX + top), importlib.import_module(top)
        if "__getattr__" not in vars(theirs):
            vars(theirs)["__getattr__"] = lambda attribute: getattr(standard, attribute)
