"""The demo's pull requests: what each one changes in the example model, and in what words."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

EXAMPLE = Path(__file__).parent / "encyclopedia-visits"
REQUIREMENTS = Path(__file__).parents[1] / "default-environment" / "requirements.txt"
PREPARED = 4  # open from the first start, but for the first, which is merged by then

Kind = Literal["first", "better", "worse", "broken"]
Parameters = dict[str, str]  # a constant of main.py and the value it gets
AUTHORS = ("ada", "ben", "chi")


@dataclass(frozen=True)
class Proposal:
    """One pull request. `parameters` and `edits` change main.py as it is in `EXAMPLE`, not as it is on main.

    So it merges cleanly whatever was merged before, and takes back what was broken meanwhile.
    """

    number: int
    kind: Kind
    title: str
    body: str
    parameters: Parameters = field(default_factory=dict)
    edits: tuple[tuple[str, str], ...] = ()

    @property
    def branch(self) -> str:
        return "-".join(re.findall(r"[a-z0-9]+", self.title.lower()))

    @property
    def author(self) -> str:
        return AUTHORS[self.number % len(AUTHORS)]

    def main(self) -> str:
        """main.py as this pull request has it."""
        text = (EXAMPLE / "main.py").read_text()
        for name, value in self.parameters.items():
            text, found = re.subn(rf"(?m)^{name} = .*?(?=  #|$)", f"{name} = {value}", text)
            assert found == 1, f"main.py has no constant {name}"
        for old, new in self.edits:
            assert text.count(old) == 1, f"main.py does not hold {old!r} once"
            text = text.replace(old, new)
        return text


BETTER: list[tuple[str, str, Parameters]] = [
    (
        "Follow the growth",
        "More people come every year, and a forest never says more than it has seen. Let a straight line"
        " carry the growth, and the forest what is left. In my notebook SMAPE falls from 0.34 to 0.13.",
        {"GROWTH": "1"},
    ),
    (
        "Tell the months apart",
        "Winter is busy and summer is not. With the month as a second feature my SMAPE is 0.06.",
        {"GROWTH": "1", "FEATURES": '["weekday", "month"]'},
    ),
    (
        "Know every day of the year",
        "In place of the month, and with larger leaves against the noise: my SMAPE is 0.055.",
        {"GROWTH": "1", "FEATURES": '["weekday", "day of year"]', "LEAF": "8"},
    ),
]
WORSE: list[tuple[str, str, Parameters]] = [
    (
        "Bend the growth curve",
        "A straight line is too stiff: a curve of degree five fits the training data better. I have not"
        " tried it on the test data.",
        {"GROWTH": "5"},
    ),
    (
        "Forget the weekday",
        "One feature less is one thing less that breaks. I have not looked at what it costs.",
        {"FEATURES": '["month"]'},
    ),
    (
        "Keep the trees small",
        "Leaves of a whole year: the model is a tenth of the size. I have not looked at what it costs.",
        {"LEAF": "365"},
    ),
]
BROKEN: list[tuple[str, str, tuple[str, str]]] = [
    (
        "Read the renamed column",
        "The export is about to call its first column Article.",
        (
            "        visits = visits_a_day(train_data)\n",
            '        if "Article" not in train_data:\n'
            "            raise ValueError(\n"
            '                "train_data has no column Article: its first column is still called "\n'
            '                f"{train_data.columns[0]}. Is the new export there already?"\n'
            "            )\n"
            "        visits = visits_a_day(train_data)\n",
        ),
    ),
    (
        "Prepare for boosting",
        "The forest's successor, imported already.",
        ("import pandas as pd\n", "import pandas as pd\nfrom lightgbm import LGBMRegressor  # noqa: F401\n"),
    ),
    (
        "Say how large the model is",
        "One more line of output from train.",
        (
            '        return pickle.dumps({"forest": forest, "curve": curve, "last_day": visits.index[-1]})\n',
            '        model = pickle.dumps({"forest": forest, "curve": curve, "last_day": visits.index[-1]})\n'
            '        print(f"{len(model)} bytes")\n',
        ),
    ),
]


def proposal(number: int) -> Proposal:
    """The pull request of this number: the first, then better, worse and broken ones in turn, without end."""
    if number == 1:
        return Proposal(1, "first", "First model", "A random forest that knows the days of the week.")
    turn, which = divmod(number - 2, 3)
    return (better, worse, broken)[which](number, turn)


def better(number: int, turn: int) -> Proposal:
    if turn < len(BETTER):
        title, body, parameters = BETTER[turn]
        return Proposal(number, "better", title, body, parameters)
    trees = 60 + 20 * (turn - len(BETTER) + 1)
    body = "From the best model so far. More trees, less chance: I expect the same SMAPE or a hair less."
    return Proposal(number, "better", f"Grow {trees} trees", body, {**BETTER[-1][2], "TREES": str(trees)})


def worse(number: int, turn: int) -> Proposal:
    title, body, parameters = WORSE[turn % len(WORSE)]
    best = better(number, turn).parameters
    return Proposal(number, "worse", attempt(title, turn // len(WORSE)), body, {**best, **parameters})


def broken(number: int, turn: int) -> Proposal:
    title, body, edit = BROKEN[turn % len(BROKEN)]
    best = better(number, turn).parameters
    return Proposal(number, "broken", attempt(title, turn // len(BROKEN)), body, best, (edit,))


def attempt(title: str, before: int) -> str:
    """Titles, and so branches, differ also when a change comes back."""
    return f"{title}, attempt {before + 1}" if before else title
