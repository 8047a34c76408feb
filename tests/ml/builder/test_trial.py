"""A release that nobody has asked for a prediction yet is tried with a row of the test data."""

import json

import pytest

from db.models import Release
from db.states import Status
from ml.paths import HomeLayout
from tests.ml.builder.test_prediction_diff import asked
from tests.ml.builder.test_release import live
from tests.ml.conftest import Appliance
from tests.models import files

DATA = {"data/train.csv": "a,b,y\n1,2,3\n2,3,5\n", "data/test.csv": "a,b,y\n3,4,7\n"}
TABLE = "import pandas\nframe = pandas.DataFrame"


def built(
    appliance: Appliance, predict: str, kind: str = "Regressor", more: str = "", head: str = TABLE
) -> Release:
    info = f"return {{'Name': 'Sum', 'Type': '{kind}', 'Target': 'y'}}"
    made = files(head=head, train="return b''", evaluate="return {'MAE': 0.25}", predict=predict, info=info)
    main = made["main.py"].replace("\n\nentry_point", f"\n    {more}\n\nentry_point")
    commit = appliance.merge({**made, **DATA, "main.py": main})
    appliance.settle()
    return appliance.release(commit)


def test_a_model_that_fails_a_row_of_its_test_data_is_rejected(appliance: Appliance) -> None:
    release = built(appliance, "return frame(features)['a'] + frame(features)['b']")

    assert release.status is Status.REJECTED
    assert "predict() raised ValueError: If using all scalar values" in str(release.reason)
    assert 'for a row of the test data: {"a": 3, "b": 4}.' in str(release.reason)
    assert "add examples() to main.py" in str(release.reason)


@pytest.mark.parametrize(
    ("predict", "more"),
    [
        ("return features['a'] + features['b']", ""),
        ("return features[0] + features[1]", ""),
        ("return 1 / features", "def examples(self): return [2]"),
    ],
    ids=["an object", "a list", "examples"],
)
def test_whatever_form_of_a_row_it_takes_is_tried(appliance: Appliance, predict: str, more: str) -> None:
    release = built(appliance, predict, more=more)

    assert release.status is Status.DEPLOYED
    assert "no prediction" not in appliance.log(release, "gate")


def test_one_that_fails_recorded_requests_is_tried_with_a_row(appliance: Appliance) -> None:
    live(appliance, files(train="return b''", evaluate="return {'MAE': 0.25}", predict="return 1"))
    asked(appliance, {"c": 1}, {"c": 2})

    release = built(appliance, "return frame(features)['a'] + frame(features)['b']")

    assert release.status is Status.REJECTED
    assert 'for a row of the test data: {"a": 3, "b": 4}.' in str(release.reason)
    assert built(appliance, "return features['a'] + features['b']").status is Status.DEPLOYED


def test_a_row_is_kept_for_the_form_where_the_type_has_one(appliance: Appliance) -> None:
    typed = "class Row(typing.TypedDict):\n    a: int\n    b: int"
    head = f"{TABLE}\nimport typing\n{typed}"

    release = built(
        appliance,
        "return features['a'] + features['b']",
        more="predict.__annotations__['features'] = Row",
        head=head,
    )

    assert release.status is Status.DEPLOYED
    scored = json.loads(HomeLayout(appliance.settings.home).scored(release.id).read_text())
    assert (scored["typed"], scored["rows"][0]) == (True, {"a": 3, "b": 4})


@pytest.mark.parametrize(
    ("predict", "kind", "said"),
    [
        ("return features['rooms']", "Regressor", "no row of the test data fits the features"),
        ("return 1 / features", "Generic", "predict() raised TypeError"),
    ],
)
def test_where_no_row_fits_it_is_said(appliance: Appliance, predict: str, kind: str, said: str) -> None:
    release = built(appliance, predict, kind)

    assert release.status is Status.DEPLOYED
    assert said in appliance.log(release, "gate")
