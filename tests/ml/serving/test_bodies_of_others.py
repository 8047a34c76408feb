"""Bodies as clients of other servers send them: the right value, or one sentence that names the cure."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.ml.serving.support import Shop, main_py
from tests.ml.serving.test_inputs import post

ROW = """
class Row(typing.TypedDict):
    age: float
    job: typing.Optional[str]
"""
CLERK, NOBODY = {"age": 30.0, "job": "clerk"}, {"age": 41.5, "job": None}
MLFLOW, PREDICT = "/invocations", "/predict"
TENSORFLOW, TRITON = "/v1/models/web-traffic:predict", "/v2/models/web-traffic/infer"


@pytest.fixture
def rows(make_shop: Callable[..., Shop]) -> Iterator[Shop]:
    """A model of typed rows that says what it was given."""
    with make_shop().serving() as shop:
        shop.publish(main_py("return features", ROW, features="features: Row"))
        yield shop


# the address, the body, and the predictions or the cure
JSON: list[tuple[str, str, Any]] = [
    # MLflow's scoring server, and what its documents of several versions show
    (
        MLFLOW,
        '{"dataframe_split": {"columns": ["age", "job"], "data": [[30, "clerk"], [41.5, null]]}}',
        [CLERK, NOBODY],
    ),
    (
        MLFLOW,
        '{"dataframe_split": {"index": [0], "columns": ["age", "job"], "data": [[30, "clerk"]]}, '
        '"params": {}}',
        [CLERK],
    ),
    (
        MLFLOW,
        '{"dataframe_records": [{"age": 30, "job": "clerk"}, {"age": 41.5, "job": NaN}]}',
        [CLERK, NOBODY],
    ),
    (MLFLOW, '{"instances": [{"age": 30, "job": "clerk"}]}', [CLERK]),
    (MLFLOW, '{"inputs": {"age": [30, 41.5], "job": ["clerk", null]}}', [CLERK, NOBODY]),
    (MLFLOW, '{"inputs": {"age": 30, "job": "clerk"}}', [CLERK]),
    (MLFLOW, '{"inputs": [[30, "clerk"]]}', "inputs[0]: features has to be an object with age, job"),
    (MLFLOW, '{"columns": ["age", "job"], "data": [[30, "clerk"]]}', 'an object with "dataframe_split"'),
    (MLFLOW, '[{"age": 30, "job": "clerk"}]', 'an object with "dataframe_split"'),
    (MLFLOW, '{"inputs": [{"age": 30, "job": "clerk"}], "params": {"top": 1}}', "send no params"),
    # TensorFlow Serving, by row and by column; KServe V1
    (
        TENSORFLOW,
        '{"signature_name": "serving_default", "instances": [{"age": 30, "job": "clerk"}]}',
        [CLERK],
    ),
    (TENSORFLOW, '{"inputs": {"age": [30, 41.5], "job": ["clerk", null]}}', [CLERK, NOBODY]),
    (TENSORFLOW, '{"instances": [[30, "clerk"]]}', "an object with age, job, not [30, 'clerk']"),
    (TENSORFLOW, '{"examples": [{"age": 30}]}', 'has to be an object with "instances"'),
    # the Open Inference Protocol: Triton, KServe V2, MLServer, OpenVINO
    (
        TRITON,
        '{"id": "7", "inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [30, 41.5]}, '
        '{"name": "job", "shape": [2], "datatype": "BYTES", "data": ["clerk", "cook"]}]}',
        [CLERK, {"age": 41.5, "job": "cook"}],
    ),
    (
        TRITON,
        '{"parameters": {"content_type": "pd"}, "inputs": [{"name": "age", "shape": [1, 1], '
        '"datatype": "INT64", "data": [[30]]}, {"name": "job", "shape": [1, 1], '
        '"datatype": "BYTES", "data": [["clerk"]], '
        '"parameters": {"content_type": "str"}}]}',
        [CLERK],
    ),
    (
        TRITON,
        '{"inputs": [{"name": "input-0", "shape": [1, 2], "datatype": "FP32", "data": [[30, 1]]}]}',
        "input-0 is not known: there is age, job",
    ),
    (
        TRITON,
        '{"inputs": [{"name": "age", "shape": [1], "datatype": "FP32", '
        '"parameters": {"binary_data_size": 4}}]}',
        "binary_data=False",
    ),
    (
        PREDICT,
        '{"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [30]}]}',
        "/v2/models/NAME/infer",
    ),
    # Seldon
    (
        PREDICT,
        '{"data": {"names": ["age", "job"], "ndarray": [[30, "clerk"]]}}',
        '{"dataframe_split": {"columns"',
    ),
    (PREDICT, '{"data": {"names": ["age"], "tensor": {"shape": [1, 1], "values": [30]}}}', "to /invocations"),
    # BentoML, FastAPI by hand, and what people try
    (PREDICT, '{"age": 30, "job": "clerk"}', [CLERK]),
    (PREDICT, '{"input_data": [{"age": 30, "job": "clerk"}]}', 'without "input_data" around it'),
    (PREDICT, '{"features": {"age": 30, "job": "clerk"}}', 'without "features" around it'),
    (PREDICT, '[{"age": 30, "job": "clerk"}]', 'send many to /invocations, as {"instances": [...]}'),
    (
        PREDICT,
        '{"instances": [{"age": 30, "job": "clerk"}]}',
        'A body with "instances" is sent to /invocations',
    ),
    (PREDICT, '{"age": 30}\n{"age": 41.5}\n', "send one line a request"),
    (PREDICT, '{"age": "30", "job": "clerk"}', "age has to be a value of type number, not '30'"),
    (PREDICT, "{'age': 30, 'job': 'clerk'}", "object keys must be strings"),
]

# the body, and the predictions or the cure
CSV: list[tuple[str, Any]] = [
    ("age,job\n30,clerk\n41.5,\n", [CLERK, NOBODY]),
    ("age,job\r\n30,clerk\r\n", [CLERK]),
    ("age,job\n30,clerk", [CLERK]),
    ("\ufeffage,job\n30,clerk\n", [CLERK]),
    ('"age","job"\n"30","clerk"\n', [CLERK]),
    ("job,age\nclerk,30\n", [CLERK]),
    ("age,job\n30,clerk\n\n", [CLERK]),
    ('age,job\n30,"clerk, ""senior"""\n', [{"age": 30.0, "job": 'clerk, "senior"'}]),
    ('age,job\n30,"a\nb"\n', [{"age": 30.0, "job": "a\nb"}]),
    ("age,job\n3e1,007\n", [{"age": 30.0, "job": "007"}]),
    ("age,job\n+41.5,NA\n", [NOBODY]),
    ("30,clerk\n", "Its first line names none of the model's columns: there is age, job"),
    ("30,clerk\n41.5,cook\n", "send it as Content-Type: text/csv; header=absent"),
    ("age;job\n30;clerk\n", "separated by semicolons: send commas"),
    ("age\tjob\n30\tclerk\n", "separated by tabs: send commas"),
    (",age,job\n0,30,clerk\n", "to_csv(index=False)"),
    ("age, job\n30, clerk\n", "begin or end with a space"),
    ("age,job,target\n30,clerk,1\n", "does not take target: there is age, job. ?columns=known leaves out"),
    ("# people\nage,job\n30,clerk\n", "Its first line names none of the model's columns"),
    ("age\n30\n", "row 1: job is missing"),
    ("age,job\n30\n", "row 1 has 1 values, and there are 2 columns"),
    ("age,job\n", "The list of rows is empty"),
    ("", "The first line has to name the columns"),
    ("age,job\nold,clerk\n", "row 1: age has to be a value of type number, not 'old'"),
    ("age,job\nNA,clerk\n", "row 1: age has to be a value of type number, not None"),
    ('age,job\n"30,5",clerk\n', "row 1: age has to be a value of type number, not '30,5'"),
    ("age,age\n1,2\n", "Two columns of one name"),
]


def test_each_body_gets_its_value_or_its_cure(rows: Shop) -> None:
    wrong = []
    for path, body, expected in JSON:
        wrong += differs(post(rows, path, body), body, expected)
    for body, expected in CSV:
        wrong += differs(post(rows, MLFLOW, body, "text/csv"), body, expected)
    assert wrong == []


def differs(answer: httpx.Response, body: str, expected: Any) -> list[tuple[str, object]]:
    """The body and what came, where that is not what was expected."""
    document = answer.json()
    if isinstance(expected, str):
        told = f"{document.get('title')}: {document.get('detail')}"
        is_right = answer.is_client_error and expected in told
    else:
        told = predictions(document)
        is_right = answer.is_success and told == expected
    return [] if is_right else [(body, told)]


def predictions(document: dict[str, Any]) -> Any:
    if "prediction" in document:
        return [document["prediction"]]
    found = document.get("predictions") or document.get("outputs")
    if found and "datatype" in found[0]:  # a tensor for each value of the rows
        return [
            dict(zip([one["name"] for one in found], values, strict=True))
            for values in zip(*(one["data"] for one in found), strict=True)
        ]
    return found or document


def test_a_table_without_names_has_the_models_own(rows: Shop) -> None:
    for kind in ("text/csv; header=absent", "text/csv; charset=utf-8; Header=Absent"):
        answer = post(rows, MLFLOW, "30,clerk\n41.5,\n", kind)
        assert answer.json()["predictions"] == [CLERK, NOBODY]
    assert "row 1 has 1 values" in post(rows, MLFLOW, "30\n", "text/csv; header=absent").json()["detail"]


def test_a_table_in_another_encoding_is_told_so(rows: Shop) -> None:
    answer = rows.client.post(
        rows.url + MLFLOW,
        content="age,job\n30,caf\xe9\n".encode("latin-1"),
        headers={"Content-Type": "text/csv"},
    )

    assert answer.status_code == 400
    assert answer.json()["detail"] == "Byte 14 is not UTF-8: send the table in that encoding."
