"""The model in the README is one: it is trained, goes live, and predicts."""

import re
from pathlib import Path

from db.states import Status
from tests.ml.conftest import Appliance

README = Path(__file__).parents[2] / "README.md"
ROWS = "age,visits,left\n" + "".join(f"{20 + n},{n % 7},{n % 2}\n" for n in range(40))


def test_the_model_in_the_readme_goes_live(appliance: Appliance) -> None:
    [main] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    commit = appliance.merge({"main.py": main, "data/train.csv": ROWS, "data/test.csv": ROWS})
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.DEPLOYED, release.reason
    assert release.kind == "classification"
    assert list(release.metrics or ()) == ["accuracy"]


def test_the_readme_is_short() -> None:
    assert len(README.read_text().split()) <= 900
