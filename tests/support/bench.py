"""Trains one model as a builder does, without the rest of an appliance: `python -m tests.support.bench`.

Stdin: {"environment", "main": the text of main.py, "limits": of the sandbox}
Stdout: {"artifact"} or {"rejected"}
Like a builder it has the database's password in its environment.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from common import log
from ml.errors import Rejected
from ml.manifest import Resources
from ml.runner import sandbox, verb
from ml.settings import Model, Settings


def main() -> None:
    asked = json.load(sys.stdin)
    settings = Settings()  # type: ignore[call-arg]
    log.configure("bench", settings.log)
    folder = settings.home / "releases/1"
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "main.py").write_text(asked["main"])
    held = sandbox.of(settings, Model("bench", "acme/bench", "", "main"), Resources())
    room = verb.Room(Path(asked["environment"]), source, folder / "scratch", replace(held, **asked["limits"]))
    try:
        verb.ask(
            "train",
            {"entry_point": "main:entry_point", "data": {"path": str(source), "format": "path"}},
            room=room,
            folder=folder / "train.new",
            log=folder / "logs/train.log",
            timeout=60,
        )
        sys.stdout.write(json.dumps({"artifact": (folder / "train.new/artifact").read_text()}))
    except Rejected as fault:
        sys.stdout.write(json.dumps({"rejected": str(fault)}))


if __name__ == "__main__":
    main()
