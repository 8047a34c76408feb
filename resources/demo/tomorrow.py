"""New data for the demo's model: three more months of visits, on the appliance and not in the repository."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from resources.demo import generate, page_model
from resources.demo.repository import NOT_HERE, DemoRepository

MANIFEST = """# Three months more are in SLIPWAY_DATA each time that `slipway demo tomorrow` is called.
[retrain]
on_data = true
cooldown = "1s"
budget = 100
"""
SUBJECT = "Read the visits from the appliance, and train again when they change"
REPLACED = "`slipway demo drift` has replaced the model of all visits: run this in a new demo"


class DemoData:
    """The data in the folder of the appliance; `later` is how many times three months it is ahead."""

    def __init__(self, repository: DemoRepository, folder: Path | None) -> None:
        self.repository, self.folder = repository, folder

    def advance(self, at: datetime) -> dict[str, Any]:
        """Have the model read its data from the appliance, or let three months pass where it does.

        Return the commit that has it do so, which is the newest of the branch then. Raises ValueError where
        there is no folder, or another model.
        """
        if self.folder is None:
            raise ValueError(NOT_HERE)
        if self.repository.find_commit(page_model.SUBJECT) is not None:
            raise ValueError(REPLACED)
        later = self.folder / "later"
        if (commit := self.repository.find_commit(SUBJECT)) is None:
            generate.main(self.folder)
            later.write_text("0")
            return {"commit": self.repository.push_change(SUBJECT, "ada", at, move_data), "later": 0}
        now = int(later.read_text()) + 1 if later.exists() else 0
        generate.main(self.folder, now)
        later.write_text(str(now))
        return {"commit": commit, "later": now}


def move_data(tree: Path) -> None:
    """Remove the data from the repository: it is read from the appliance from then on."""
    shutil.rmtree(tree / "data")
    (tree / "slipway.toml").write_text(MANIFEST)
