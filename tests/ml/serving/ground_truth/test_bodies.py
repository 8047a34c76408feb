"""A body of ground truth is read within bounds; each fault has its place."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.problems import ProblemError
from db.ground_truth_models import GroundTruth
from ml.serving.ground_truth.csv_items import parse_csv
from ml.serving.ground_truth.items import ItemError, ParsedItems, parse_json
from ml.serving.ground_truth.values import fit_value
from tests.ml.serving.ground_truth.test_stored import counts, forge, recorded, send, values
from tests.ml.serving.request_log.test_recorded import ID, rows_of
from tests.ml.serving.support import Shop, apart, main_py

KINDS = ("regression", "time-series", "classification", "generic", None)
TYPES = ("string", "number", "boolean", "object", "array", None)
GOOD = {"prediction": "p", "value": 1}
FAULTS: list[tuple[Any, str]] = [
    ({"value": 1}, "0"),
    ({"prediction": "p"}, "0"),
    ({**GOOD, "prediction": 7}, "0.prediction"),
    ({**GOOD, "prediction": ""}, "0.prediction"),
    ({**GOOD, "prediction": "x" * 101}, "0.prediction"),
    ({**GOOD, "row": -1}, "0.row"),
    ({**GOOD, "row": 1.5}, "0.row"),
    ({**GOOD, "row": True}, "0.row"),
    ({**GOOD, "row": 2**31}, "0.row"),
    ({**GOOD, "row": 2**70}, "0.row"),
    ({**GOOD, "at": "2026-11-29T18:00:00"}, "0.at"),
    ({**GOOD, "at": "yesterday"}, "0.at"),
    ({**GOOD, "at": 5}, "0.at"),
    ({**GOOD, "at": "0001-01-01T00:00:00+14:00"}, "0.at"),
    ({**GOOD, "at": "9999-12-31T23:59:59Z"}, "0.at"),
    ({**GOOD, "source": "oracle"}, "0.source"),
    ({**GOOD, "more": 1}, "0"),
    ([], "0"),
    (None, "0"),
]
LINES = [
    ("p", "line 2"),
    (",1,,,", "line 2, prediction"),
    ("p,,,,", "line 2, value"),
    ("p,1,-1,,", "line 2, row"),
    ("p,1,٣,,", "line 2, row"),
    ("p,1,99999999999,,", "line 2, row"),
    ("p,1,,2026-11-29 18:00,", "line 2, at"),
    ("p,1,,,oracle", "line 2, source"),
]


def places(parsed: ParsedItems) -> list[str]:
    return [fault.place for fault in parsed.faults]


@pytest.mark.parametrize(("item", "place"), FAULTS)
def test_a_fault_of_json_has_its_place(item: Any, place: str) -> None:
    parsed = parse_json(json.dumps([item, GOOD]).encode())
    assert (places(parsed), [one.number for one in parsed.items]) == ([place], [1])


@pytest.mark.parametrize(("line", "place"), LINES)
def test_a_fault_of_csv_has_its_line(line: str, place: str) -> None:
    parsed = parse_csv(f"prediction,value,row,at,source\n{line}\np,1,,,\n".encode())
    assert (places(parsed), [one.place for one in parsed.items]) == ([place], ["line 3"])


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1", b"1", b"\xff", b"[" * 1_000_000, b'[{"a":' * 100_000, b"NaN"]
)
def test_a_body_that_is_no_array_is_refused(body: bytes) -> None:
    with pytest.raises(ProblemError) as raised:
        parse_json(body)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"prediction\np\n", 422),
        (b"prediction,value,value\np,1,2\n", 422),
        (b"prediction,value,other\np,1,2\n", 422),
        (b"prediction,value\n\xff,1\n", 400),
        (b'prediction,value\n"p,1\n', 400),
        (b'prediction,value\np,"' + b"x" * 200_000 + b'"\n', 400),
        (b"prediction,value\n" + b"p,1\n" * 10_001, 413),
    ],
)
def test_a_body_that_is_no_table_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(ProblemError) as raised:
        parse_csv(body)
    assert raised.value.status == status


def test_columns_of_csv_may_have_any_order() -> None:
    parsed = parse_csv('\ufeffvalue,source,prediction\r\n\r\n"a\nb",person,p\r\n2,,q\r\n'.encode())
    assert [(one.prediction, one.value, one.source, one.place) for one in parsed.items] == [
        ("p", "a\nb", "person", "line 4"),
        ("q", "2", "system", "line 5"),
    ]


def test_a_wrong_value_stores_none_of_its_call(shop: Shop) -> None:
    shop.publish(main_py("return 1.5"), kind="regression")
    call = recorded(shop)
    items = [{"prediction": call, "value": 1}, {"prediction": call, "value": "two"}]

    answer = send(shop, items)

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"at": "1.value", "message": "has to be a finite number"}]
    assert values(shop) == []
    assert counts(send(shop, items, "?invalid=skip")) == {"stored": 1, "invalid": 1}


def test_a_label_is_like_the_answers(shop: Shop) -> None:
    shop.publish(main_py("return features"), kind="classification")
    text, number = recorded(shop, "cat"), recorded(shop, 3)
    table = f"prediction,value\n{text},3\n{number},3\n"
    assert counts(send(shop, table)) == {"stored": 2}
    assert [one.value for one in values(shop)] == ["3", 3]
    answer = send(shop, [{"prediction": text, "value": 3}, {"prediction": number, "value": "3"}])
    assert [error["at"] for error in answer.json()["errors"]] == ["0.value", "1.value"]


def test_a_table_has_the_rows_of_a_call(shop: Shop) -> None:
    shop.publish(main_py("return 1"), kind="regression")
    response = shop.client.post(shop.url + "/invocations", json={"instances": [1, 2]})
    rows_of(shop, response, 2)
    call = response.headers[ID]
    table = (
        f"prediction,value,row,at,source\n{call},1.5,1,2026-11-29T18:00:00Z,person\n"
        f"{call},2,0,,\n{forge(call)},2,0,,\n{call},3,7,,\n"
    )

    answer = send(shop, table)

    assert counts(answer) == {"stored": 2, "unknown": 1, "early": 1}
    assert answer.json()["problems"][0]["at"] == "line 4"
    stored = [(one.row, one.value, one.source, one.is_early) for one in values(shop)]
    assert stored == [(0, 2, "system", False), (1, 1.5, "person", False), (7, 3, "system", True)]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_of_another_type_is_refused(shop: Shop, kind: str) -> None:
    assert send(shop, [], **{"Content-Type": kind}).status_code == 415


def test_a_body_has_a_bound_of_bytes(shop: Shop) -> None:
    assert send(shop, " " * (8 << 20) + "[]", **{"Content-Type": "application/json"}).status_code == 413


def test_no_hostile_value_breaks_a_call(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    call = recorded(shop)
    hostile = ['"a\\u0000b"', "[" * 400 + "]" * 400, "9" * 4000, "1e400", '"\\ud800"', "0." + "0" * 60_000]
    for text in hostile:
        body = f'[{{"prediction": "{call}", "value": {text}}}]'
        answer = send(shop, body, **{"Content-Type": "application/json"})
        assert answer.status_code in (200, 400, 422), (text[:20], answer.text)
    assert counts(send(shop, [{"prediction": call, "value": [1, {"x": 2**70}]}]))["stored"] == 1
    [one] = values(shop)
    assert isinstance(one, GroundTruth)
    assert one.value == [1, {"x": 2**70}]


@pytest.mark.parametrize("is_csv", [False, True])
def test_bodies_that_were_damaged_raise_only_problems(is_csv: bool) -> None:
    good = b"prediction,value,row\np,[1],0\n" if is_csv else json.dumps([{**GOOD, "row": 0}]).encode()
    pieces = [
        b"\x00",
        b"\xff",
        b"[" * 2000,
        b"}",
        b'"',
        b"1e999",
        b"NaN",
        b",",
        b"9" * 400,
        b"\\ud800",
        b"\n",
    ]
    chosen = random.Random(1)
    for _ in range(3000):
        body = bytearray(good)
        for _ in range(chosen.randint(1, 4)):
            at = chosen.randrange(len(body) + 1)
            body[at : at + chosen.randint(0, 3)] = chosen.choice(pieces)
        try:
            parsed = (parse_csv if is_csv else parse_json)(bytes(body))
            for item in parsed.items:
                fit_value(item.value, chosen.choice(KINDS), chosen.choice(TYPES))
        except (ProblemError, ItemError):
            continue


def test_without_postgres_nothing_is_stored(make_shop: Callable[..., Shop], tmp_path: Path) -> None:
    with apart(make_shop, tmp_path) as (own, postgres), own.serving() as shop:
        shop.publish(main_py("return 1"))
        call = recorded(shop)
        postgres.stop()
        assert send(shop, [{"prediction": call, "value": 1}]).status_code == 503
        postgres.start()
        assert counts(send(shop, [{"prediction": call, "value": 1}])) == {"stored": 1}
