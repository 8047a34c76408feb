"""The models of one repository: what was merged, what became of it in each of them, and who is live."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from db import deployments
from db.models import Release
from db.states import Cause, Status
from ml.controller.reconciler import Reconciler
from ml.settings import MlSettings
from tests.ml.conftest import Appliance
from tests.models import working

LIBRARY = """
[churn]
repository = "acme/models"
clone_url = "{url}"
path = "models/churn"
paths = ["libs/common"]
"""
MODELS = (
    LIBRARY
    + """
[fraud]
repository = "acme/models"
clone_url = "{url}"
path = "models/fraud"
paths = ["libs/common", "shared.txt"]
"""
)
TRAFFIC = """
[traffic]
repository = "acme/models"
clone_url = "{url}"
path = "models/traffic"
"""
MODELS += TRAFFIC
# it reads a file of a named folder, by its own path and by the working directory
READER = """
import pathlib
SHARED = pathlib.Path(__file__).parents[2] / "libs/common/rate.txt"
assert SHARED.read_text() == open("../../libs/common/rate.txt").read()
"""


def below(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


def reader(smape: float) -> dict[str, str]:
    """A model that uses the common library."""
    files = working.quick(smape=smape)
    return {**files, "main.py": READER + files["main.py"]}


ALL = {
    **below("models/churn", reader(0.3)),
    **below("models/fraud", reader(0.3)),
    **below("models/traffic", working.quick(smape=0.3)),
    "libs/common/rate.txt": "1",
    "shared.txt": "1",
    "README.md": "Our models",
}


@dataclass
class Monorepo:
    appliance: Appliance
    models_file: Path

    def merge(self, files: Mapping[str, str | None]) -> dict[str, Release]:
        """Merge a change, build it, and return its release of each model."""
        commit = self.appliance.merge(files)
        self.appliance.settle()
        return self.of_commit(commit)

    def of_commit(self, commit: str) -> dict[str, Release]:
        return {one.model: one for one in self.appliance.releases()[::-1] if one.commit == commit}

    def go_live(self, model: str) -> int:
        """What serve would do with the wanted release of a model."""
        with self.appliance.sessions.begin() as session:
            wanted = deployments.find_wanted(session, model)
            assert wanted is not None
            deployments.mark_live(session, wanted)
            return wanted.release_id

    def roll_back(self, model: str) -> int:
        with self.appliance.sessions.begin() as session:
            deployments.roll_back(session, model, cause=Cause.ROLLBACK, who="dana", why="bad")
        return self.go_live(model)

    def restart(self, text: str) -> None:
        """Start the controller again, with another models.toml."""
        self.models_file.write_text(text)
        self.appliance.settings = MlSettings()
        self.appliance.lookout = Reconciler(self.appliance.settings, self.appliance.lookout.sessions)


def statuses(releases: Mapping[str, Release]) -> dict[str, Status]:
    return {model: release.status for model, release in releases.items()}
