"""New data for the demo's model: three more months of visits, on the appliance and not in the repository."""

from datetime import datetime
from pathlib import Path
from typing import Any

from resources.demo import generate
from resources.demo.repository import DemoRepository

MANIFEST = """# Three months more are in SLIPWAY_DATA each time that `slipway demo tomorrow` is called.
[retrain]
on_data = true
cooldown = "1s"
budget = 100
"""
SUBJECT = "Read the visits from the appliance, and train again when they change"
NOT_HERE = "this demo has no folder of data: `slipway demo tomorrow` needs the appliance that `make up` runs"


class DemoData:
    """The data in the folder of the appliance; `later` is how many times three months it is ahead."""

    def __init__(self, repository: DemoRepository, folder: Path | None) -> None:
        self.repository, self.folder = repository, folder

    def advance(self, at: datetime) -> dict[str, Any]:
        """Have the model read its data from the appliance, or let three months pass where it does.

        Return the commit that has it do so, which is the newest of the branch then. Raises ValueError where
        there is no folder.
        """
        if self.folder is None:
            raise ValueError(NOT_HERE)
        later = self.folder / "later"
        if (commit := self.find_commit()) is None:
            generate.main(self.folder)
            later.write_text("0")
            return {"commit": self.move_data(at), "later": 0}
        now = int(later.read_text()) + 1 if later.exists() else 0
        generate.main(self.folder, now)
        later.write_text(str(now))
        return {"commit": commit, "later": now}

    def find_commit(self) -> str | None:
        """Return the commit from which on the data is not in the repository; None before."""
        log = ("log", "--first-parent", "--format=%H", f"--grep=^{SUBJECT}$", "-1", "main")
        return self.repository.run_git(self.repository.path, *log) or None

    def move_data(self, at: datetime) -> str:
        """Push the commit that removes the data from the repository."""
        with self.repository.open_checkout(self.repository.path) as tree:
            self.repository.run_git(tree, "checkout", "--quiet", "-B", "main", "origin/main")
            self.repository.run_git(tree, "rm", "--quiet", "-r", "data")
            (tree / "slipway.toml").write_text(MANIFEST)
            commit = self.repository.commit_all(tree, SUBJECT, "ada", at)
            self.repository.run_git(tree, "push", "--quiet", "origin", "main")
            return commit
