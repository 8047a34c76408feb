"""Another model for the demo, of one page's visits: `slipway demo drift` shows on it how a world changes."""

import csv
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from resources.demo.repository import NOT_HERE, DemoRepository
from resources.demo.world import COLUMNS, draw_pages

PAGE_FOLDER = Path(__file__).parent / "page-visits"
SUBJECT = "Say the visits of one page"
RECORDED_SUBJECT = "Train on what was recorded"
TRAIN_ROWS, TEST_ROWS = 600, 150
MODEL = """[model]
entry_point = "page:entry_point"
target = "visits"

[gate]
SMAPE = { better = "lower", may_worsen_by = "25%" }
"""
RECORDED = """
[data]
train = "slipway://recorded?days=30"  # the newest fifth is what it is judged by

[retrain]
drift = "suggest"
decay = "suggest"
cooldown = "1s"
budget = 100
"""


class PageModel:
    """The commits of the model: trained on files first, then on what was recorded."""

    def __init__(self, repository: DemoRepository, data_folder: Path | None) -> None:
        self.repository, self.data_folder = repository, data_folder

    def advance(self, at: datetime, *, is_recorded: bool) -> dict[str, Any]:
        """Push the model where it is missing, or the commit that trains it on what was recorded.

        Return both commits, None for one that there is not. Raises ValueError where the demo has no folder of
        an appliance: nothing allows it to read recorded requests then.
        """
        if self.data_folder is None:
            raise ValueError(NOT_HERE)
        if self.repository.find_commit(SUBJECT) is None:
            self.repository.push_change(SUBJECT, "ben", at, write_model)
        elif is_recorded and self.repository.find_commit(RECORDED_SUBJECT) is None:
            self.repository.push_change(RECORDED_SUBJECT, "ben", at, write_recorded)
        found = self.repository.find_commit
        return {"commit": found(SUBJECT), "recorded": found(RECORDED_SUBJECT)}


def write_model(tree: Path) -> None:
    """Put the model beside main.py, which the demo's pull requests go on to change."""
    shutil.copy(PAGE_FOLDER / "page.py", tree)
    (tree / "slipway.toml").write_text(MODEL)
    (tree / "data").mkdir(exist_ok=True)
    for name, count, seed in (("train", TRAIN_ROWS, 1), ("test", TEST_ROWS, 2)):
        with (tree / f"data/{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            rows.writerows(
                [*page.values(), visits] for page, visits in draw_pages(count, seed, has_changed=False)
            )


def write_recorded(tree: Path) -> None:
    (tree / "slipway.toml").write_text(MODEL + RECORDED)
