"""The command that trains a model as a builder does, without an appliance: `python -m tests.harness.bench`.

Stdin: {"environment", "main": the text of main.py, "limits": of the sandbox}
Stdout: {"artifact"} or {"rejected"}
Like a builder it has the database's password in its environment.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from common import log
from common.errors import RejectedError
from ml.manifest import Resources
from ml.runtime import invoke
from ml.sandbox import sandbox
from ml.settings import MlSettings, ModelConfig


def main() -> None:
    request = json.load(sys.stdin)
    settings = MlSettings()  # type: ignore[call-arg]
    log.configure("bench", settings.log)
    folder = settings.home / "releases/1"
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "main.py").write_text(request["main"])
    limits = sandbox.sandbox_for(settings, ModelConfig("bench", "acme/bench", "", "main"), Resources())
    runtime = invoke.ModelRuntime(
        Path(request["environment"]), source, folder / "scratch", replace(limits, **request["limits"])
    )
    try:
        invoke.invoke(
            "train",
            {"entry_point": "main:entry_point", "data": {"path": str(source), "format": "path"}},
            runtime=runtime,
            folder=folder / "train.new",
            log=folder / "logs/train.log",
            timeout=60,
        )
        sys.stdout.write(json.dumps({"artifact": (folder / "train.new/artifact").read_text()}))
    except RejectedError as fault:
        sys.stdout.write(json.dumps({"rejected": str(fault)}))


if __name__ == "__main__":
    main()
