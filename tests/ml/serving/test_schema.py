"""What a model takes, learnt from the type of predict's features."""

import dataclasses
import enum
import sys
import types
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Literal, Optional, TypedDict, Union

import pydantic
import pytest

from ml.model_host.mismatch import MAX_FIELD_ERRORS, FeatureValidationError
from ml.model_host.schema import FeatureSchema, learn_schema

BIG = "houses[0].area has to be a value of type number, not 'big'"
MINOR = "Input should be greater than or equal to 18"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class House:
    area: float
    rooms: int = 3
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Street:
    name: str
    houses: list[House]


class Flat(TypedDict):
    floor: int


class Person(pydantic.BaseModel):
    age: int = pydantic.Field(ge=18)
    partner: Optional["Person"] = None


def taken(annotation: Any) -> FeatureSchema:
    def predict(model: bytes, features: Any) -> None: ...

    predict.__annotations__["features"] = annotation
    return learn_schema(predict)


@pytest.mark.parametrize(
    ("annotation", "given", "built"),
    [
        (int, 7, 7),
        (int, 7.0, 7),
        (float, 7, 7.0),
        (bool, False, False),
        (str, "7", "7"),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, "2026-01-31T12:00:00Z", datetime.fromisoformat("2026-01-31T12:00:00+00:00")),
        (Literal["a", 1], 1, 1),
        (Colour, "blue", Colour.BLUE),
        (int | None, None, None),
        (Union[int, str], "x", "x"),  # noqa: UP007 (both ways to write it)
        (list[float], [1, 2.5], [1.0, 2.5]),
        (list, [1, "a"], [1, "a"]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (dict, {"a": [1]}, {"a": [1]}),
        (House, {"area": 30}, House(30.0)),
        (Street, {"name": "x", "houses": [{"area": 1}]}, Street("x", [House(1.0)])),
        (Flat, {"floor": 2}, {"floor": 2}),
        (Person, {"age": 20}, Person(age=20)),
    ],
)
def test_features_arrive_as_the_type_that_was_asked_for(annotation: Any, given: Any, built: Any) -> None:
    found = taken(annotation)

    assert found.schema is not None
    assert found.build(given, "") == built
    assert type(found.build(given, "")) is type(built)


@pytest.mark.parametrize(
    ("annotation", "given", "said"),
    [
        (int, "7", "features has to be a value of type integer, not '7'"),
        (int, 7.5, "features has to be a value of type integer, not 7.5"),
        (int, True, "features has to be a value of type integer, not True"),
        (str, None, "features has to be a value of type string, not None"),
        (date, "tomorrow", "features has to be an ISO 8601 date, not 'tomorrow'"),
        (Literal["a", "b"], "c", "features has to be one of 'a', 'b', not 'c'"),
        (list[int], [1, "x"], "[1] has to be a value of type integer, not 'x'"),
        (House, {}, "area is missing"),
        (House, {"area": 1, "door": 2}, "door is not known: there is area, rooms, colour"),
        (
            Street,
            {"name": "", "houses": [{"area": "big"}]},
            BIG,
        ),
        (Person, {"age": 5}, "age: " + MINOR),
        (
            Person,
            {"age": 20, "partner": {"age": 5}},
            "partner.age: " + MINOR,
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(annotation: Any, given: Any, said: str) -> None:
    with pytest.raises(FeatureValidationError) as caught:
        taken(annotation).build(given, "")

    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("annotation", "example"),
    [
        (int, 1),
        (Literal["flat", "house"], "flat"),
        (float | None, 1),
        (House, {"area": 1}),
        (Flat, {"floor": 1}),
        (Person, {"age": 18}),
        (date, "2026-01-31"),
    ],
)
def test_an_example_where_the_type_says_enough(annotation: Any, example: Any) -> None:
    schema = taken(annotation).schema
    assert schema is not None
    assert schema["examples"] == [example]


@pytest.mark.parametrize("annotation", [str, list, list[float], dict, Street])
def test_no_example_where_it_would_be_a_guess(annotation: Any) -> None:
    schema = taken(annotation).schema
    assert schema is not None
    assert "examples" not in schema


def without(model: bytes, features) -> None: ...  # type: ignore[no-untyped-def]


def unknown(model: bytes, features: "NoSuchName") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def odd(model: bytes, features: Callable[[], int]) -> None: ...


def anything(model: bytes, features: Any) -> None: ...


def lonely(model: bytes) -> None: ...


@pytest.mark.parametrize("predict", [without, unknown, odd, anything, lonely])
def test_without_a_type_that_is_known_anything_goes(predict: Any) -> None:
    found = learn_schema(predict)

    assert found.schema is None
    assert found.build({"any": ["thing"]}, "") == {"any": ["thing"]}


def test_a_type_that_is_not_known_is_told_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    learn_schema(odd)
    learn_schema(unknown)
    learn_schema(without)
    learn_schema(anything)

    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "features, collections.abc.Callable[[], int], is not known" in told[0]
    assert "features, NoSuchName, is not known: they are passed on as JSON has them" in told[1]


def test_optional_members_are_seen_behind_future_annotations() -> None:
    scope: dict[str, Any] = {"__name__": "features"}
    exec(compile(LATER, "features.py", "exec", dont_inherit=True), scope)
    sys.modules["features"] = types.ModuleType("features")
    sys.modules["features"].__dict__.update(scope)
    try:
        found = learn_schema(scope["predict"])
    finally:
        del sys.modules["features"]

    assert found.schema is not None
    assert sorted(found.schema["required"]) == ["a", "d"]
    assert found.build({"a": 1, "d": "x"}, "") == {"a": 1, "d": "x"}
    with pytest.raises(FeatureValidationError, match="b has to be a value of type string, not 7"):
        found.build({"a": 1, "b": 7, "d": "x"}, "")


LATER = """
from __future__ import annotations
from typing import NotRequired, Required, TypedDict

class Base(TypedDict, total=False):
    c: int
    d: Required[str]

class Row(Base):
    a: int
    b: NotRequired[str]

def predict(model, features: Row): ...
"""


def test_all_faults_are_told_together_but_not_without_end() -> None:
    with pytest.raises(FeatureValidationError) as caught:
        taken(Street).build({"houses": [{"area": "x"}, {"rooms": 1.5}], "door": 1}, "")
    assert [place for place, _ in caught.value.errors] == [
        "name",
        "door",
        "houses[0].area",
        "houses[1].area",
        "houses[1].rooms",
    ]

    with pytest.raises(FeatureValidationError) as caught:
        taken(list[int]).build(["x"] * 1000, "")
    assert len(caught.value.errors) == MAX_FIELD_ERRORS


def test_what_may_be_null_is_told_without_that() -> None:
    with pytest.raises(FeatureValidationError) as caught:
        taken(float | None).build("?", "")
    assert str(caught.value) == "features has to be a value of type number, not '?'"
    with pytest.raises(FeatureValidationError) as caught:
        taken(int | list[int] | None).build("?", "")
    assert str(caught.value) == (
        "features has to be a value of type integer, not '?' or features has to be a list, not '?'"
    )
