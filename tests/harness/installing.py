"""The command that creates environments as a builder does: `python -m tests.harness.installing`.

Stdin: {name: the text of a requirements.txt}
Stdout: {name: {"environment": its folder} or {"rejected": reason}}
Whatever has to be built is built twice: as it is resolved, and once more as it is installed.
"""

import json
import sys

from common import log
from common.errors import RejectedError, UnavailableError
from ml.environments import environments
from ml.manifest import Resources
from ml.paths import HomeLayout
from ml.sandbox import rmtree, sandbox
from ml.settings import MlSettings, ModelConfig


def install(settings: MlSettings, release: int, requirements: str) -> dict[str, str]:
    home = HomeLayout(settings.home.absolute())
    source, log_file = home.source_path(release), home.log_path(release, "environment")
    source.mkdir(parents=True)
    (source / "requirements.txt").write_text(requirements)
    limits = sandbox.sandbox_for(settings, ModelConfig("mine", "acme/mine", "", "main"), Resources())
    try:
        resolved = environments.resolve_environment(source, home, log_file, limits)
        rmtree.remove_tree(home.model_package_cache(limits.model))
        return {"environment": str(environments.build_environment(resolved, home, log_file, limits, source))}
    except (RejectedError, UnavailableError) as fault:
        return {"rejected": f"{type(fault).__name__}: {fault}"}


def main() -> None:
    settings = MlSettings()  # type: ignore[call-arg]
    log.configure("installing", settings.log)
    requested = json.load(sys.stdin)
    answers = {name: install(settings, number, requested[name]) for number, name in enumerate(requested, 1)}
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()
