"""Requests as people and clients of other servers have them: missing numbers, tables, addresses, HEAD."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ml.serving.predict import csv_rows
from tests.ml.serving.support import Shop, main_py

PERSON = """
class Person(typing.TypedDict):
    age: typing.Optional[float]
    zip: typing.Optional[str]
    tags: typing.List[str]
"""


@pytest.fixture(scope="module")
def echo(start_lasting_shop: Callable[[], Shop]) -> Shop:
    """A model that says what it was given, of any form."""
    shop = start_lasting_shop()
    shop.publish(main_py("return features"))
    return shop


@pytest.fixture(scope="module")
def people(start_lasting_shop: Callable[[], Shop]) -> Shop:
    """A model that says what it was given, a person whose age and zip may be null."""
    shop = start_lasting_shop()
    shop.publish(main_py("return features", PERSON, features="features: Person"))
    return shop


def post(shop: Shop, path: str, body: str, kind: str = "application/json") -> httpx.Response:
    return shop.client.post(shop.url + path, content=body, headers={"Content-Type": kind})


def test_clients_may_send_missing_numbers_and_numbered_columns(echo: Shop) -> None:
    """As MLflow's and Triton's own clients do, and as pandas and numpy write them."""
    cases: list[tuple[str, str, Any]] = [
        (
            "/invocations",
            '{"dataframe_split": {"index": [0], "columns": ["x"], "data": [[NaN]]}}',
            {"x": None},
        ),
        ("/invocations", '{"dataframe_split": {"columns": [0, 1], "data": [[1, 2]]}}', {"0": 1, "1": 2}),
        ("/invocations", '{"dataframe_records": [{"x": "NaN", "y": "\\"NaN", "z": NaN}]}', None),
        ("/v1/models/web-traffic:predict", '{"instances": [{"x": NaN}]}', {"x": None}),
    ]
    for path, body, expected in cases:
        answer = post(echo, path, body)
        assert answer.status_code == 200, answer.text
        wanted = {"x": "NaN", "y": '"NaN', "z": None} if expected is None else expected
        assert answer.json()["predictions"] == [wanted]

    tensor = '{"name": "x", "datatype": "FP64", "shape": [3, 1], "data": [NaN, null, 1.0]}'
    answer = post(echo, "/v2/models/web-traffic/infer", f'{{"inputs": [{tensor}]}}')
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == ["[null]", "[null]", "[1.0]"]


@pytest.mark.parametrize(
    ("body", "cure"),
    [
        ('{"x": NaN}', "NaN and Infinity are no JSON, send null for a number that is missing"),
        ('{"NaN": -Infinity}', "NaN and Infinity are no JSON"),
        (
            '{"x": 1}\n{"x": 2}\n',
            "it is several lines of JSON, send one line a request, or many rows to /invoc",
        ),
        ("", "it is empty"),
        ('{"x": "NaN"', "truncated"),
    ],
)
def test_a_body_that_is_no_json_is_told_its_cure(echo: Shop, body: str, cure: str) -> None:
    answer = post(echo, "/predict", body)

    assert answer.status_code == 400
    assert cure in answer.json()["detail"]


CELLS = [
    (".5", 0.5),
    ("5.", 5.0),
    ("+3", 3),
    ("-07", -7),
    ("1e3", 1000.0),
    ("TRUE", True),
    ("false", False),
    ("NA", None),
    ("nan", None),
    ("#N/A N/A", None),
    ("", None),
    ("1_000", "1_000"),
    ("٣", "٣"),
    ("1e999", None),
    ("9" * 401, "9" * 401),
    ("2026-01-31", "2026-01-31"),
]


def test_cells_of_a_table_are_read_as_pandas_reads_them(echo: Shop) -> None:
    for text, value in CELLS:
        answer = post(echo, "/invocations", f'x,y\n"{text}",1\n', "text/csv")
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == [{"x": value, "y": 1}]
        assert type(answer.json()["predictions"][0]["x"]) is type(value)


def test_a_nullable_value_keeps_its_type_in_addresses_and_tables(people: Shop) -> None:
    cases: list[tuple[str, Any]] = [
        ("?age=7&zip=0123&tags=a", {"age": 7.0, "zip": "0123", "tags": ["a"]}),
        ("?tags=7&tags=8&zip=null", {"age": None, "zip": "null", "tags": ["7", "8"]}),
        ('?tags=["a","b"]', {"age": None, "zip": None, "tags": ["a", "b"]}),
    ]
    for query, expected in cases:
        answer = people.client.get(people.url + "/predict" + query)
        assert answer.status_code == 200, answer.text
        assert answer.json()["prediction"] == expected

    page = people.client.get(people.url + "/predict?age=&zip=0123&tags=a", headers={"Accept": "text/html"})
    assert page.status_code == 200, page.text
    assert 'value="0123"' in page.text
    assert "textarea" not in page.text.split('name="zip"')[0].rsplit("<div>", 1)[-1]


def test_cells_that_are_missing_are_null_where_the_model_says_so(make_shop: Callable[..., Shop]) -> None:
    head = """
    class Row(typing.TypedDict):
        a: str
        b: typing.Optional[str]
        c: typing.Optional[float]
    """
    with make_shop().serving() as shop:
        shop.publish(main_py("return features", head, features="features: Row"))
        answer = post(shop, "/invocations", "a,b,c\nNA,NA,\n,7,.5\n", "text/csv")

    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == [
        {"a": "NA", "b": None, "c": None},
        {"a": "", "b": "7", "c": 0.5},
    ]


def test_columns_unknown_to_the_model_are_left_out_on_request(people: Shop) -> None:
    table = 'id,age,zip,tags,left\n1,7,0123,"x",yes\n'
    refused = post(people, "/invocations", table.replace(",tags", "").replace(',"x"', ""), "text/csv")
    assert "The model does not take id, left" in refused.json()["detail"]

    wanted = "id,age,zip,left\n1,7,0123,yes\n"
    missing = post(people, "/invocations?columns=known", wanted, "text/csv")
    assert missing.json()["detail"] == "row 1: tags is missing"


@pytest.mark.parametrize("features", ["float", "typing.TypedDict('Row', {'age': float})"])
def test_the_target_is_left_out_where_there_is_one_feature(
    make_shop: Callable[..., Shop], features: str
) -> None:
    with make_shop().serving() as shop:
        info = {"Name": "Test", "Target": "left"}
        shop.publish(main_py("return 1", features=f"features: {features}"), info=info)
        answer = post(shop, "/invocations?columns=known", "age,left\n7,yes\n", "text/csv")
        page = shop.get("/predict", "text/html").text

    assert answer.status_code == 200, answer.text
    assert 'id="known" checked' in page
    assert "beside <code>left</code>, its predictions are judged" in page


def test_all_that_is_wrong_with_features_is_told_by_field(people: Shop) -> None:
    answer = people.client.post(people.url + "/predict", json={"age": "old", "tags": ["a", 7], "shoe": 1})

    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"at": "zip", "message": "zip is missing"},
        {"at": "shoe", "message": "shoe is not known: there is age, zip, tags"},
        {"at": "age", "message": "age has to be a value of type number, not 'old'"},
        {"at": "tags[1]", "message": "tags[1] has to be a value of type string, not 7"},
    ]
    assert "; age has to be a value of type number, not 'old'; tags[1]" in answer.json()["detail"]

    page = people.client.get(people.url + "/predict?age=old&tags=[7]", headers={"Accept": "text/html"}).text
    assert page.count('aria-invalid="true"') == 2
    assert "Age has to be a value of type number, not &#39;old&#39;" in page
    assert "Tags[0] has to be a value of type string, not 7" in page


def test_many_wrong_fields_of_long_names_leave_the_worker_alive(people: Shop) -> None:
    strange = {f"{'🦢' * 500}{n}": n for n in range(100)}
    for _ in range(5):
        answer = people.client.post(people.url + "/predict", json=strange)
        assert answer.status_code == 422, answer.text
    assert people.client.get(people.url + "/health").status_code == 200
    good = {"age": None, "zip": None, "tags": []}
    assert people.client.post(people.url + "/predict", json=good).json()["prediction"] == good


def test_head_is_answered_like_get_without_a_body(echo: Shop) -> None:
    for path in ("/", "/predict", "/releases", "/health", "/ready", "/metrics", "/releases/1", "/nowhere"):
        get, head = (echo.client.request(method, echo.url + path) for method in ("GET", "HEAD"))
        assert head.status_code == get.status_code, path
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert head.content == b""


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html; q=0.9, application/json; q=0.1", True),
        ("text/html;q=x", False),
        ("application/json, text/plain, */*", False),
        ("*/*", False),
    ],
)
def test_a_page_is_for_who_wants_it_most(echo: Shop, accept: str, is_page: bool) -> None:
    answer = echo.client.get(echo.url + "/releases", headers={"Accept": accept})

    assert answer.headers["Content-Type"].startswith("text/html" if is_page else "application/json")


def test_a_page_is_packed_for_who_takes_that(echo: Shop) -> None:
    header = {"Accept": "text/html", "Accept-Encoding": "gzip;q=0, identity"}
    assert "Content-Encoding" not in echo.client.get(echo.url + "/", headers=header).headers
    header = {"Accept": "text/html", "Accept-Encoding": "br, gzip"}
    assert echo.client.get(echo.url + "/", headers=header).headers["Content-Encoding"] == "gzip"


def test_numbers_that_cannot_be_drawn_are_shown(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        shop.publish(main_py("return [['2026-01-01', 10**400]]"))
        page = shop.client.get(shop.url + "/predict?x=1", headers={"Accept": "text/html"})
        table = shop.client.get(shop.url + "/predict.csv?x=1")

    assert page.status_code == 200
    assert "1000000000000" in page.text
    assert table.status_code == 406


def test_a_long_cell_takes_no_time() -> None:
    began = time.perf_counter()

    cell = csv_rows.encode_cell("1" * 40_000 + "e", csv_rows.CellKind())
    assert bytes(cell) == b'"' + b"1" * 40_000 + b'e"'
    assert time.perf_counter() - began < 1
