"""The demo's pull requests: the change of each to the example model, and its text."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

EXAMPLE_FOLDER = Path(__file__).parent / "encyclopedia-visits"
REQUIREMENTS = Path(__file__).parents[1] / "default-environment" / "requirements.txt"
PREPARED_COUNT = 4  # open from the first start, except the first, which is merged by then

ProposalKind = Literal["first", "better", "worse", "broken"]
Parameters = dict[str, str]  # a constant of main.py and the value it gets
AUTHORS = ("ada", "ben", "chi")


@dataclass(frozen=True)
class Proposal:
    """One pull request. `parameters` and `edits` change main.py of `EXAMPLE_FOLDER`, not main.py of main.

    So it merges cleanly whatever was merged before, and reverts what was broken meanwhile.
    """

    number: int
    kind: ProposalKind
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

    def render_main(self) -> str:
        """Return main.py with this pull request's changes."""
        text = (EXAMPLE_FOLDER / "main.py").read_text()
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


def make_proposal(number: int) -> Proposal:
    """Return the pull request of this number: the first, then endlessly better, worse and broken ones."""
    if number == 1:
        return Proposal(1, "first", "First model", "A random forest that knows the days of the week.")
    turn, which = divmod(number - 2, 3)
    return (make_better, make_worse, make_broken)[which](number, turn)


def make_better(number: int, turn: int) -> Proposal:
    if turn < len(BETTER):
        title, body, parameters = BETTER[turn]
        return Proposal(number, "better", title, body, parameters)
    trees = 60 + 20 * (turn - len(BETTER) + 1)
    body = "From the best model so far. More trees, less chance: I expect the same SMAPE or a hair less."
    return Proposal(number, "better", f"Grow {trees} trees", body, {**BETTER[-1][2], "TREES": str(trees)})


def make_worse(number: int, turn: int) -> Proposal:
    title, body, parameters = WORSE[turn % len(WORSE)]
    best = make_better(number, turn).parameters
    return Proposal(number, "worse", number_title(title, turn // len(WORSE)), body, {**best, **parameters})


def make_broken(number: int, turn: int) -> Proposal:
    title, body, edit = BROKEN[turn % len(BROKEN)]
    best = make_better(number, turn).parameters
    return Proposal(number, "broken", number_title(title, turn // len(BROKEN)), body, best, (edit,))


def number_title(title: str, attempts_before: int) -> str:
    """Return a title, and so a branch, that differs also when a change comes back."""
    return f"{title}, attempt {attempts_before + 1}" if attempts_before else title
