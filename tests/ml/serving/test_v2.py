"""The Open Inference Protocol V2, by a client that others have written."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from tests.ml.serving.support import Shop, main_py

INFER = "/v2/models/web-traffic/infer"
HOUSE = """
class House(typing.TypedDict):
    area: float
    rooms: int
    city: str
    sold: bool
    sides: typing.List[float]
"""


@pytest.fixture
def echo(make_shop: Callable[..., Shop]) -> Iterator[Shop]:
    """A model without a type that gives back what it gets."""
    with make_shop().serving() as shop:
        shop.publish(main_py())
        yield shop


def client(shop: Shop) -> InferenceServerClient:
    return InferenceServerClient(urlsplit(shop.url).netloc)


def given(name: str, array: Any, datatype: str) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=False)
    return made


def tensor(data: Any, shape: Any, datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": shape, "datatype": datatype, "data": data, **more}]}


def test_a_client_of_the_protocol(shop: Shop) -> None:
    with client(shop) as triton:
        assert triton.is_server_live()
        assert not triton.is_server_ready()
        assert not triton.is_model_ready("web-traffic")
        predict = "price = features['area'] * features['rooms']\n"
        predict += "return {'price': price, 'is': features['city'], 'n': features['sides']}"
        shop.publish(main_py(predict, HOUSE, features="features: House"))
        assert triton.is_server_ready()
        assert triton.is_model_ready("web-traffic")
        assert triton.is_model_ready("web-traffic", "1")
        assert triton.get_server_metadata()["name"] == "slipway"
        metadata = triton.get_model_metadata("web-traffic")

        assert [(one["name"], one["datatype"], one["shape"]) for one in metadata["inputs"]] == [
            ("area", "FP64", [-1]),
            ("rooms", "INT64", [-1]),
            ("city", "BYTES", [-1]),
            ("sold", "BOOL", [-1]),
            ("sides", "FP64", [-1, -1]),
        ]
        values = {
            "area": np.array([1.5, 2.0]),
            "rooms": np.array([[2], [3]]),
            "city": np.array(["Ulm", "Köln"], dtype=object),
            "sold": np.array([True, False]),
            "sides": np.array([[1.0, 2.0], [3.0, 4.0]]),
        }
        inputs = [given(one["name"], values[one["name"]], one["datatype"]) for one in metadata["inputs"]]
        for version in ("", "1"):
            answer = triton.infer("web-traffic", inputs, model_version=version, request_id="mine")
            assert answer.as_numpy("price").tolist() == [3.0, 6.0]
            assert answer.get_output("is")["data"] == ["Ulm", "Köln"]
            assert answer.as_numpy("n").tolist() == [[1.0, 2.0], [3.0, 4.0]]
            said = answer.get_response()
            assert (said["id"], said["model_version"], said["parameters"]["release"]) == ("mine", "1", 1)
        with pytest.raises(InferenceServerException, match="release 1"):
            triton.infer("web-traffic", inputs, model_version="9")
        with pytest.raises(InferenceServerException, match="area is missing"):
            triton.infer("web-traffic", inputs[1:])
        binary = InferInput("area", [2], "FP64")
        binary.set_data_from_numpy(values["area"])
        with pytest.raises(InferenceServerException, match="binary_data=False"):
            triton.infer("web-traffic", [binary])


EVERY_DATATYPE_OF_JSON: list[Any] = (
    [("BOOL", [True, False]), ("BYTES", ["a", "\u20ac"])]
    + [(f"INT{bits}", [-(1 << bits - 1), (1 << bits - 1) - 1]) for bits in (8, 16, 32, 64)]
    + [(f"UINT{bits}", [0, (1 << bits) - 1]) for bits in (8, 16, 32, 64)]
    + [("FP16", [1.5, -65504]), ("FP32", [1, 3.4e38]), ("FP64", [-1.5, 1e308])]
)


def test_every_datatype_of_json(echo: Shop) -> None:
    for datatype, data in EVERY_DATATYPE_OF_JSON:
        answer = echo.predict(tensor(data, [2], datatype), INFER).json()

        said = answer["outputs"][0]["data"]
        assert (said if datatype != "UINT64" else [int(one) for one in said]) == data
        if datatype in RANGED:
            beyond = echo.predict(tensor([data[0], data[1] * 2 + 2], [2], datatype), INFER)
            assert (beyond.status_code, "data[1] is out of the range" in beyond.json()["detail"]) == (
                422,
                True,
            )
        wrong = echo.predict(tensor([{}, data[0]], [2], datatype), INFER)
        assert (wrong.status_code, "data[0] is no" in wrong.json()["detail"]) == (422, True)


RANGED = [f"{word}{bits}" for word in ("INT", "UINT") for bits in (8, 16, 32)] + ["FP16"]


THE_FIRST_DIMENSION_IS_THE_ROWS: list[Any] = [
    (tensor([1, 2, 3, 4], [2, 2]), {"shape": [2, 2], "datatype": "INT64", "data": [1, 2, 3, 4]}),
    (tensor([[1.5, 2], [3, 4]], [2, 2]), {"shape": [2, 2], "datatype": "FP64", "data": [1.5, 2, 3, 4]}),
    (tensor([1, 2], [2, 1]), {"shape": [2, 1], "datatype": "INT64", "data": [1, 2]}),
    (
        tensor(['{"a": null}'], [1], "BYTES", parameters={"content_type": "application/json"}),
        {"shape": [1], "datatype": "BYTES", "data": ["null"]},
    ),
    (
        tensor(["[1,[2]]"], [1], "BYTES", parameters={"content_type": "application/json"}),
        {"shape": [1], "datatype": "BYTES", "data": ["[1,[2]]"]},
    ),
]


def test_the_first_dimension_is_the_rows(echo: Shop) -> None:
    for body, output in THE_FIRST_DIMENSION_IS_THE_ROWS:
        answer = echo.predict(body, INFER)

        assert answer.status_code == 200, answer.text
        said = answer.json()["outputs"][0]
        assert {name: said[name] for name in output} == output


WHAT_IS_NO_TENSOR: list[Any] = [
    (tensor([1], [1_000_000_000, 1_000_000_000]), 413, "1000000000 rows"),
    (tensor([1], [1, 1_000_000_000, 1_000_000_000]), 422, "has 1 values"),
    (tensor([], [1, 0]), 422, "at least 1"),
    (tensor([1], [-1]), 422, "at least 1"),
    (tensor([1], [1] * 17), 422, "16 dimensions"),
    (tensor([1], []), 422, "1 to 16"),
    (tensor([[1], 2], [2]), 422, "nesting"),
    (tensor([[[1]], [[2]]], [2]), 422, "nesting"),
    (tensor(1, [1]), 422, "no list"),
    (tensor([1], [1], "BF16"), 422, "BF16"),
    (tensor([1], [1.5]), 422, "$.inputs[0].shape[0]"),
    (tensor(None, [1], parameters={"binary_data_size": 8}), 415, "binary_data=False"),
    (tensor(["{"], [1], "BYTES", parameters={"content_type": "application/json"}), 422, "content_type"),
    ({"inputs": []}, 422, "empty"),
    ({"inputs": tensor([1], [1])["inputs"] * 2}, 422, "one name"),
    (tensor([1], [1]) | {"outputs": [{"name": "y"}]}, 422, "there is prediction"),
    ([], 422, "inputs"),
]


def test_what_is_no_tensor(echo: Shop) -> None:
    for body, status, said in WHAT_IS_NO_TENSOR:
        answer = echo.predict(body, INFER)

        assert answer.status_code == status, answer.text
        assert said in answer.json()["error"]


MORE = "def examples(self): return [{'x': 2}]"


def test_metadata_of_models_of_each_kind(shop: Shop) -> None:
    def inputs() -> list[tuple[str, str, list[int]]]:
        found = shop.get("/v2/models/web-traffic").json()["inputs"]
        return [(one["name"], one["datatype"], one["shape"]) for one in found]

    shop.publish(main_py(), kind="time-series")
    assert inputs() == [("features", "INT64", [-1])]
    assert shop.predict(tensor([7], [1, 1], "INT64"), INFER).json()["outputs"][0]["data"] == [7]
    shop.publish(main_py(more="def examples(self): return [[1.5, 2, 3]]"))
    assert inputs() == [("features", "FP64", [-1, 3])]
    shop.publish(main_py(features="features: typing.Optional[typing.Literal['a', 'b']]"))
    assert inputs() == [("features", "BYTES", [-1])]
    assert shop.predict(tensor(["a"], [1, 1], "BYTES"), INFER).json()["outputs"][0]["data"] == ["a"]
    shop.publish(main_py(features="features: typing.Dict[str, float]", more=MORE))
    assert shop.predict(tensor([2], [1]), INFER).json()["outputs"][0]["name"] == "x"
