"""The health prediction's input: examples(), the schema's example, a recorded request, 1 for a series."""

from collections.abc import Callable

import pytest

from tests.harness import recorded
from tests.ml.serving.support import Shop, main_py

ONLY = "if features != {0!r}: raise ValueError('asked about %r' % (features,))\nreturn 1"
EXAMPLES = "def examples(self): return ['an example', 2]"


def only(right: object, **more: str) -> str:
    """A model that answers for these features alone."""
    return main_py(ONLY.format(right), **more)


def record(shop: Shop, features: object) -> None:
    recorded.record(shop.sessions, shop.model, features)


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


def test_one_odd_request_keeps_no_release_from_going_live(shop: Shop) -> None:
    number = main_py("if not isinstance(features, int): raise ValueError('no number')\nreturn features")
    record(shop, "7")
    shop.publish(number, kind="regression")  # there is no other request to judge it by
    record(shop, 7)
    record(shop, "8")
    shop.publish(number, kind="regression")


def test_a_release_that_fails_all_recorded_requests_stays_down(shop: Shop) -> None:
    for features in ("older", "recorded"):
        record(shop, features)

    release = shop.publish(only(7), kind="regression", wait=False)

    reason = str(shop.until(release, "failed").reason)
    assert "predict() raised ValueError (the newest" in reason
    assert "'recorded'" not in reason  # users have sent it
    assert "the newest of 2 recorded requests, of which it answers none" in reason


OTHER_FEATURES = "features: typing.TypedDict('Home', {'rooms': int, 'city': str})"
UNTRIED = "Slipway tried no prediction of release {}"


def test_one_that_refuses_all_recorded_is_asked_for_a_test_row(shop: Shop) -> None:
    for number in (1, 2):
        record(shop, {"area": number, "city": "Bern"})
    row = {"rooms": 3, "city": "Bern"}

    release = shop.publish(only(row, features=OTHER_FEATURES), kind="regression", rows=[[3, "Bern"], row])

    assert UNTRIED.format(release) not in shop.get("/", "text/html").text


@pytest.mark.parametrize("rows", [None, [{"rooms": "three", "city": "Bern"}], ["\ud800", 10**400]])
def test_where_no_row_fits_either_it_goes_live_untried(shop: Shop, rows: list[object] | None) -> None:
    for number in (1, 2):
        record(shop, {"area": number, "city": "Bern"})

    release = shop.publish(main_py(features=OTHER_FEATURES), kind="regression", rows=rows)

    assert UNTRIED.format(release) in shop.get("/", "text/html").text


@pytest.mark.parametrize(
    "features", ["features: typing.TypedDict('Home', {'rooms': int, 'size': float})", "features"]
)
def test_a_row_of_the_test_data_that_is_answered_is_shown(shop: Shop, features: str) -> None:
    row = {"rooms": 3, "size": 71.5}

    shop.publish(
        main_py(features=features), kind="regression", rows=[[3, 71.5], row][features == "features" :]
    )

    form = shop.get("/predict", "text/html").text
    assert "71.5" in form.split("<form")[1].split("</form")[0]
    calls = shop.get("/openapi.json").json()["paths"]
    content = calls["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert content["example"] == row


def test_a_row_that_is_not_answered_is_shown_nowhere(shop: Shop) -> None:
    typed = "features: typing.TypedDict('Home', {'rooms': int, 'size': float})"

    shop.publish(main_py(features=typed), kind="regression", rows=[{"rooms": 3, "size": "large"}])

    assert "large" not in shop.get("/predict", "text/html").text


def test_a_row_is_tried_where_one_recorded_request_is_too_few(shop: Shop) -> None:
    record(shop, "7")

    release = shop.publish(only([3, 4]), kind="regression", rows=[{"a": 3, "b": 4}, [3, 4]])

    assert UNTRIED.format(release) not in shop.get("/", "text/html").text


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


def test_a_release_too_slow_or_killed_at_first_is_tried_again(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_LOAD_TIMEOUT="3", SLIPWAY_PREDICT_TIMEOUT="60").serving() as shop:
        starts = """
            tried = os.path.expanduser("~/tried")
            open(tried, "a").write("x")
            tries = len(open(tried).read())
        """
        load = """
            def load(self, model):
                if tries == 1: time.sleep(3600)
                if tries == 2: os.kill(os.getpid(), 9)
        """
        shop.publish(main_py("return tries", starts, load))

        assert shop.predict(1).json()["prediction"] == 3


def test_a_release_that_never_loads_in_time_fails(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        shop.repository.write({"slipway.toml": "[resources]\nload_timeout = '1s'\n"})
        release = shop.publish(main_py(more="def load(self, model): time.sleep(3600)"), wait=False)

        reason = str(shop.until(release, "failed").reason)

    assert "was not loaded within 1 s ([resources] load_timeout" in reason
    assert "tried 3 times" in reason
