"""The health prediction's input: examples(), the schema's example, a recorded request, 1 for a series."""

import pytest

from db import predictions
from db.models import Prediction
from tests.ml.serving.support import Shop, main_py

ONLY = "if features != {0!r}: raise ValueError('asked about %r' % (features,))\nreturn 1"
EXAMPLES = "def examples(self): return ['an example', 2]"


def only(right: object, **more: str) -> str:
    """A model that answers for these features alone."""
    return main_py(ONLY.format(right), **more)


def record(shop: Shop, features: object) -> None:
    with shop.sessions.begin() as session:
        request, answer = {"features": features}, {"prediction": 1}
        predictions.record(
            session, [Prediction(model=shop.model, release_id=1, request=request, answer=answer)]
        )


def test_examples_come_first(shop: Shop) -> None:
    record(shop, "recorded")
    shop.publish(
        only("an example", more=EXAMPLES, features="features: typing.Union[int, str]"), kind="time-series"
    )


def test_then_the_example_of_the_schema(shop: Shop) -> None:
    record(shop, "recorded")
    shop.publish(only("flat", features="features: typing.Literal['flat', 'house']"), kind="time-series")


@pytest.mark.parametrize("features", ["features", "features: str", "features: list"])
def test_then_the_newest_recorded_request(shop: Shop, features: str) -> None:
    recorded = ["recorded"] if "list" in features else "recorded"
    record(shop, "older")
    record(shop, recorded)
    shop.publish(only(recorded, features=features), kind="time-series")


def test_then_1_for_a_time_series(shop: Shop) -> None:
    shop.publish(only(1), kind="time-series")


def test_with_none_of_these_an_error_of_the_model_is_an_answer(shop: Shop) -> None:
    shop.publish(main_py("raise ValueError('always')"), kind="regression")


def test_the_reason_names_the_input_and_where_it_came_from(shop: Shop) -> None:
    release = shop.publish(only(7), kind="time-series", wait=False)

    reason = shop.until(release, "failed").reason
    assert "predict() raised ValueError: asked about 1" in str(reason)
    assert "as for any time series; if it takes other features, add examples()" in str(reason)


def test_an_examples_of_another_meaning_is_left_alone(shop: Shop) -> None:
    shop.publish(main_py(more="def examples(self, folder): return folder"))
    shop.publish(main_py(more="examples = 3"))
    shop.publish(main_py(more="def examples(self): return 'text'"))
