"""A result of a build, found out once: one that was stored before a crash is read again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.system.durable import move_into_place
from ml.sandbox import rmtree


def load_or_make(folder: Path, name: str, make: Callable[[Path], Any]) -> Any:
    """Return the document `folder/name`, made by `make` where it is missing.

    `make` gets the path of a new folder, which it creates; that becomes `folder` when all of it is done.
    """
    done = folder / name
    if not done.exists():
        new = folder.with_name(folder.name + ".new")
        rmtree.remove_tree(new)
        document = make(new)
        (new / name).write_text(json.dumps(document))
        move_into_place(new, folder)
    return json.loads(done.read_text())
