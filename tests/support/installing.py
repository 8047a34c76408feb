"""Makes environments as a builder does: `python -m tests.support.installing`.

Stdin: {name: the text of a requirements.txt}
Stdout: {name: {"environment": its folder} or {"rejected": reason}}
Whatever has to be built is built twice: as it is resolved, and once more as it is installed.
"""

import json
import sys

from common import log
from ml.errors import Rejected, Unavailable
from ml.home import Home
from ml.manifest import Resources
from ml.runner import sandbox, trees
from ml.settings import Model, Settings
from ml.stages import environment


def install(settings: Settings, release: int, requirements: str) -> dict[str, str]:
    home = Home(settings.home.absolute())
    source, log_file = home.source(release), home.log(release, "environment")
    source.mkdir(parents=True)
    (source / "requirements.txt").write_text(requirements)
    held = sandbox.of(settings, Model("mine", "acme/mine", "", "main"), Resources())
    try:
        resolved = environment.resolve(source, home, log_file, held)
        trees.remove(home.own_package_cache(held.model))
        return {"environment": str(environment.build(resolved, home, log_file, held))}
    except (Rejected, Unavailable) as fault:
        return {"rejected": f"{type(fault).__name__}: {fault}"}


def main() -> None:
    settings = Settings()  # type: ignore[call-arg]
    log.configure("installing", settings.log)
    asked = json.load(sys.stdin)
    answers = {name: install(settings, number, asked[name]) for number, name in enumerate(asked, 1)}
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()
