"""Inside the model's environment: values to JSON, the repository's modules beside everybody else's."""

import datetime
import decimal
import enum
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.model_host.to_json import NotSerializableError, to_json_value


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    at: datetime.date


class Scalar:
    """Behaves as a numpy scalar does."""

    def tolist(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        ((1, "two", True), [1, "two", True]),
        ({1: {2: (3,)}}, {"1": {"2": [3]}}),
        (datetime.datetime(2026, 1, 6, 12), "2026-01-06T12:00:00"),
        ({datetime.date(2026, 1, 6): 1}, {"2026-01-06": 1}),
        (datetime.timedelta(minutes=1), 60.0),
        (decimal.Decimal("1.5"), 1.5),
        (Colour.RED, "red"),
        (Point(1.0, datetime.date(2026, 1, 6)), {"x": 1.0, "at": "2026-01-06"}),
        ([Scalar()], [0.5]),
        (
            {
                3,
            },
            [3],
        ),
        (zip("ab", range(2), strict=True), [["a", 0], ["b", 1]]),
        ({"k": 1}.items(), [["k", 1]]),
    ],
)
def test_what_models_return_becomes_plain(value: object, plain: object) -> None:
    assert to_json_value(value) == plain
    json.dumps(to_json_value(plain), allow_nan=False)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([1.0, float("nan")], "the value[1] is nan"),
        ({"a": [float("inf")]}, "the value['a'][0] is inf"),
        (decimal.Decimal("NaN"), "the value is nan"),
        ({"f": object()}, "the value['f'] is of type builtins.object"),
        (b"bytes", "the value is of type builtins.bytes"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place(value: object, place: str) -> None:
    with pytest.raises(NotSerializableError) as unfit:
        to_json_value(value)
    assert str(unfit.value) == place


def run(folder: Path, files: dict[str, str]) -> str:
    """What `main.py` of these files prints when our `imports` has put them on the path."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    begin = (
        "from ml.model_host import import_isolation; "
        f"import_isolation.add_repository({str(folder)!r}); import main"
    )
    done = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_repository_gets_its_own_module_of_a_standard_name(tmp_path: Path) -> None:
    files = {
        "main.py": "import random; print(random.choice([1])); from random import seed; print(seed)",
        "random.py": "seed = 'ours'\ndef choice(x): return 'theirs'",
    }
    assert run(tmp_path, files).split() == ["theirs", "ours"]


def test_what_its_module_has_not_comes_from_the_standard_one(tmp_path: Path) -> None:
    files = {
        "main.py": "import json, json.decoder; print(json.loads('[1]'), json.OURS, json.decoder.JSONDecoder)",
        "json.py": "import json\nOURS = json.dumps('x')",
    }
    assert run(tmp_path, files).startswith('[1] "x" ')


def test_everybody_else_gets_the_standard_module(tmp_path: Path) -> None:
    files = {
        "main.py": "import csv, statistics; print(statistics.mean([1, 3]), csv.HERE)",
        "random.py": "raise SystemExit('the standard library imports random, not ours')",
        "csv/__init__.py": "from csv.more import HERE",
        "csv/more.py": "HERE = True",
    }
    assert run(tmp_path, files).split() == ["2", "True"]
