"""A repository on the stand-in for GitHub whose merges are told apart by what their models predict."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from resources.demo.github import FakePullRequests
from tests.harness.repositories import Files, ModelRepository
from tests.models import TEST_CSV, TRAIN_CSV

NAME = "acme/numbers"
MODEL = "numbers"
# goes live; is rejected; is rejected; passes and cannot start; something newer is known when it comes
Kind = Literal["good", "worse", "untrainable", "unstartable", "older"]
MAIN = """
import pickle
import time

FACTOR = {factor}


class EntryPoint:
    def train(self, train_data):
        {train}
        return pickle.dumps(FACTOR)

    def evaluate(self, model, test_data):
        return {{"SMAPE": {smape}}}

    def info(self):
        return {{"Name": "Numbers", "Type": "Generic"}}

    def load(self, model):
        {load}
        return pickle.loads(model)

    def predict(self, model, features):
        features["x"] *= FACTOR  # in place: whoever gets this row once more gives another answer
        if features["x"] < 0:
            raise ValueError("x is negative")
        return [features["who"], features["x"], model]

    def predict_batch(self, model, rows):
        time.sleep(0.005)  # others collect meanwhile
        return [self.predict(model, row) for row in rows]


entry_point = EntryPoint()
"""
GATE = "[gate]\nSMAPE = { better = 'lower', may_worsen_by = '5%' }\n"


@dataclass(frozen=True)
class Merge:
    number: int  # of the pull request
    commit: str
    kind: Kind

    @property
    def factor(self) -> int:
        return self.number + 1

    def predict(self, row: dict[str, Any]) -> list[Any]:
        """What its model gives for a row that is good, whoever asks beside it."""
        return [row["who"], row["x"] * self.factor, self.factor]


def files(factor: int, kind: Kind) -> Files:
    train = "raise ValueError('no such column \\x00')" if kind == "untrainable" else "time.sleep(0.5)"
    load = "raise RuntimeError('not this \\x00 pickle')" if kind == "unstartable" else "time.sleep(0.5)"
    smape = 0.3 if kind == "worse" else 0.2
    main = MAIN.format(factor=factor, train=train, load=load, smape=smape)
    return {"main.py": main, "slipway.toml": GATE, "data/train.csv": TRAIN_CSV, "data/test.csv": TEST_CSV}


class Upstream:
    """`merges` are those that git has, in its order and by commit; GitHub lists them once they are shown."""

    def __init__(self, folder: Path) -> None:
        self.repository = ModelRepository(folder)
        self.pulls = FakePullRequests(NAME)
        self.merges: dict[str, Merge] = {}
        self._at = datetime.now(UTC) - timedelta(hours=1)

    def open(self) -> int:
        return self.pulls.open("A change", head="a-branch")

    def merge(self, kind: Kind, number: int | None = None) -> Merge:
        number = number or self.open()
        commit = self.repository.merge_pull_request(number, files(number + 1, kind))
        self.merges[commit] = made = Merge(number, commit, kind)
        return made

    def show(self, *merges: Merge) -> None:
        """Have GitHub list them as merged, all in the second that follows the last one."""
        self._at = max(datetime.now(UTC).replace(microsecond=0), self._at + timedelta(seconds=1))
        with self.pulls.batch_changes():
            for merge in merges:
                self.pulls.merge(merge.number, merge.commit, self._at)

    def show_late(self, merge: Merge) -> None:
        """Have GitHub list it now, as merged in the second before the last."""
        self.pulls.merge(merge.number, merge.commit, self._at - timedelta(seconds=1))
