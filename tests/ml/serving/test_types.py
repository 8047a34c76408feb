"""A model that takes every type there is: validation, the document, its examples, each protocol."""

from importlib.metadata import version
from typing import Any

import jsonschema_rs

from tests.ml.serving.support import Shop, main_py

HEAD = """
import dataclasses, datetime, enum
from typing import Dict, List, Literal, Optional, TypedDict

class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Door(TypedDict):
    width: float

@dataclasses.dataclass
class Room:
    area: float
    doors: List[Door]

@dataclasses.dataclass
class House:
    whole: int
    real: float
    text: str
    flag: bool
    word: Literal["a", "b"]
    colour: Colour
    day: datetime.date
    moment: datetime.datetime
    maybe: Optional[int]
    rooms: List[Room]
    named: Dict[str, float]
    later: int = 3
"""
EXAMPLE: dict[str, Any] = {
    "whole": 7,
    "real": 1.5,
    "text": "x",
    "flag": True,
    "word": "b",
    "colour": "blue",
    "day": "2026-01-31",
    "moment": "2026-01-31T12:00:00+00:00",
    "maybe": None,
    "rooms": [{"area": 2, "doors": [{"width": 1}]}],
    "named": {"a": 1},
}
PREDICT = """
types = [type(value).__name__ for value in vars(features).values()]
return [types, type(features.rooms[0]).__name__, type(features.rooms[0].doors[0]).__name__, features.later]
"""
TYPES = [
    "int",
    "float",
    "str",
    "bool",
    "str",
    "Colour",
    "date",
    "datetime",
    "NoneType",
    "list",
    "dict",
    "int",
]
WRONG = {
    "whole": 1.5,
    "real": "1",
    "text": 1,
    "flag": 1,
    "word": "c",
    "colour": "green",
    "day": "31.1.2026",
    "moment": "noon",
    "maybe": "1",
    "rooms": [{"area": 2, "doors": [{}]}],
    "named": {"a": "1"},
    "other": 1,
}


def works(shop: Shop) -> None:
    """Every example of the document is one that its call answers, and that its schema allows."""
    for address in ("/openapi.json", "/models/web-traffic/openapi.json"):
        document = shop.get(address).json()
        called = 0
        for path, methods in document["paths"].items():
            content = (
                methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
            )
            if "example" in content:
                schema = {**content["schema"], "components": document["components"]}
                jsonschema_rs.validator_for(schema).validate(content["example"])
                if path.endswith("/ground-truth"):  # for operators, and about calls that were made
                    continue
                answer = shop.predict(content["example"], path)
                assert answer.status_code == 200, (path, answer.text)
                called += 1
        assert called == 4


def test_every_type_from_end_to_end(shop: Shop) -> None:
    more = f"def examples(self): return [{EXAMPLE!r}]"
    shop.publish(main_py(PREDICT, HEAD, more, "features: House"))

    assert shop.predict(EXAMPLE).json()["prediction"] == [TYPES, "Room", "dict", 3]
    for name, value in WRONG.items():
        answer = shop.predict(EXAMPLE | {name: value})
        assert answer.status_code == 422, name
        assert answer.json()["detail"].startswith(name), answer.json()["detail"]
    tensors = {one["name"]: one["datatype"] for one in shop.get("/v2/models/web-traffic").json()["inputs"]}
    assert (tensors["whole"], tensors["rooms"]) == ("INT64", "BYTES")
    works(shop)
    assert "dataframe_records" in shop.get("/docs", "text/html").text


FEATURES: dict[str, Any] = {
    "$defs": {
        "door": {"type": "object", "required": ["width"], "properties": {"width": {"$ref": "#/$defs/size"}}},
        "size": {"type": "number", "exclusiveMinimum": 0},
    },
    "type": "object",
    "required": ["door", "days"],
    "properties": {
        "door": {"$ref": "#/$defs/door"},
        "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 9},
        "name": {"type": "string", "minLength": 2, "pattern": "^[a-z]"},
        "list": {"type": "array", "items": {"enum": [1, "a"]}, "maxItems": 2},
    },
    "additionalProperties": False,
}


BESIDE = """
import dataclasses
from typing import Annotated, Optional

@dataclasses.dataclass(frozen=True)
class Interval:  # as annotated-types has it
    gt: Optional[float] = None
    ge: Optional[float] = None
    le: Optional[float] = None

@dataclasses.dataclass
class House:
    area: Annotated[float, Interval(gt=0, le=500), "living area without the cellar"]
    built: int = dataclasses.field(metadata={"title": "Year", "minimum": 1800, "maximum": "soon", "x": 1})
    rooms: Annotated[Optional[int], {"unit": "rooms", "maximum": 9}] = None
"""


def test_bounds_and_words_stand_beside_a_type(shop: Shop) -> None:
    shop.publish(main_py("return features.area", head=BESIDE, features="features: House"))

    schema = shop.get("/openapi.json").json()["components"]["schemas"]["web-traffic.features"]
    answer = shop.predict({"area": 0, "built": 1700, "rooms": 10})

    assert schema["properties"] == {
        "area": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 500,
            "description": "living area without the cellar",
        },
        "built": {"type": "integer", "title": "Year", "minimum": 1800},
        "rooms": {"anyOf": [{"type": "integer"}, {"type": "null"}], "unit": "rooms", "maximum": 9},
    }
    assert answer.status_code == 422
    assert [error["message"] for error in answer.json()["errors"]] == [
        "area has to be more than 0, not 0",
        "built has to be at least 1800, not 1700",
        "rooms has to be at most 9, not 10",
    ]
    assert shop.predict({"area": 1, "built": 1800}).json()["prediction"] == 1
    assert shop.predict({"area": 1, "built": 1800, "rooms": None}).json()["prediction"] == 1


def test_a_schema_in_info_is_as_good_as_a_type(shop: Shop) -> None:
    more = f"def info(self): return {{'Name': 'Door', 'features': {FEATURES!r}}}"
    more += "\ndef examples(self): return [{'door': {'width': 1}, 'days': 1}]"
    shop.publish(main_py(more=more))

    good = {"door": {"width": 0.5}, "days": None, "name": "ab", "list": ["a", 1]}
    assert shop.predict(good).json()["prediction"] == good
    for change, said in [
        ({"door": {}}, "door.width is missing"),
        ({"door": {"width": 0}}, "door.width has to be more than 0, not 0"),
        ({"days": 10}, "days has to be at most 9, not 10"),
        ({"days": True}, "days has to be a value of type integer or null, not True"),
        ({"name": "a"}, "name has to be 2 characters at least, not 'a'"),
        ({"name": "AB"}, "name has to be a text like ^[a-z], not 'AB'"),
        ({"list": [1, True]}, "list[1] has to be one of 1, 'a', not True"),
        ({"other": 1}, "other is not known: there is door, days, name, list"),
    ]:
        answer = shop.predict(good | change)
        assert (answer.status_code, answer.json().get("detail")) == (422, said), change
    works(shop)


def test_what_info_says_that_is_no_schema_binds_nobody(shop: Shop) -> None:
    for features in ("['Page', 'Date']", "{'Page': 'a text'}", "{'type': 'float'}", "{'$ref': '#/none'}"):
        more = f"def info(self): return {{'features': {features}}}\ndef examples(self): return [1]"
        shop.publish(main_py(more=more))
        assert shop.predict({"any": ["thing"]}).status_code == 200


def test_a_pydantic_model_from_end_to_end(shop: Shop) -> None:
    head = """
    import pydantic

    class Person(pydantic.BaseModel):
        age: int = pydantic.Field(ge=18)
        partner: "typing.Optional[Person]" = None
    """
    source = main_py("return [type(features).__name__, features.age]", head, features="features: Person")
    names = ("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection")
    shop.publish(source, lock="".join(f"{name}=={version(name)}\n" for name in names))

    assert shop.predict({"age": 20, "partner": {"age": 30}}).json()["prediction"] == ["Person", 20]
    detail = shop.predict({"age": 20, "partner": {"age": 2}}).json()["detail"]
    assert detail.startswith("partner.age: Input should be greater than")
    works(shop)
