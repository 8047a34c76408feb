"""Whatever is sent, the answer is one of ours: no 5xx but the model's own, and no worker is lost."""

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from loguru import logger

from ml.serving.predict import tensors
from tests.harness import plain_http
from tests.harness.exploring import FEW_OR_MANY, explore
from tests.ml.serving.support import Shop, main_py
from tests.ml.serving.test_types import EXAMPLE, HEAD

SENT = ("/predict", "/v1/models/web-traffic:predict", "/invocations", "/v2/models/web-traffic/infer")
TENSOR = {"name": "features", "shape": [2], "datatype": "INT64", "data": [1, 2]}
BODIES: list[Any] = [
    EXAMPLE,
    {"instances": [EXAMPLE, EXAMPLE]},
    {"dataframe_split": {"columns": list(EXAMPLE), "data": [list(EXAMPLE.values())]}},
    {"dataframe_records": [EXAMPLE]},
    {"inputs": {name: [value] for name, value in EXAMPLE.items()}},
    {
        "inputs": [
            {**TENSOR, "name": "whole"},
            {**TENSOR, "name": "real", "datatype": "FP32", "data": [[1.5], [2]]},
        ]
    },
    {"inputs": [{**TENSOR, "datatype": "BYTES", "data": ["{}", "1"], "parameters": tensors.JSON_TEXT}]},
]
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1e308,
    2**63,
    2**64,
    "",
    "\x00",
    "\ud83d\ude00",
    [],
    {},
    [[]],
    "NaN",
    "x" * 3000,
]
BYTES = [b"\x00", b"\xff", b"[" * 2000, b"}", b'"', b"1e999", b"NaN", b",", b"9" * 400, b"\\ud800", b"null"]


@pytest.fixture
def typed(make_shop: Callable[..., Shop]) -> Iterator[Shop]:
    """A model that takes every type; it fails at nothing."""
    with make_shop().serving() as shop:
        more = f"def examples(self): return [{EXAMPLE!r}]"
        shop.publish(main_py("return features.whole", HEAD, more, "features: House"))
        yield shop


@pytest.fixture
def lost() -> Iterator[list[str]]:
    """What is logged of workers that ended."""
    found: list[str] = []
    sink = logger.add(found.append, filter=lambda record: "ended" in record["message"], format="{message}")
    yield found
    logger.remove(sink)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container in a body with each of its keys."""
    if isinstance(value, dict):
        return [(value, key) for key in value] + [one for inner in value.values() for one in places(inner)]
    if isinstance(value, list):
        return [(value, at) for at in range(len(value))] + [one for inner in value for one in places(inner)]
    return []


def mutated(chance: random.Random) -> bytes:
    body = json.loads(json.dumps(chance.choice(BODIES)))
    for _ in range(chance.randrange(3)):
        if found := places(body):
            holder, key = chance.choice(found)
            if chance.random() < 0.2:
                del holder[key]
            else:
                holder[key] = json.loads(json.dumps(chance.choice([*ODD, EXAMPLE, chance.random()])))
    text = json.dumps(body, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(BYTES) + text[at + chance.randrange(4) :]
    return text[: chance.randrange(len(text) + 1)] if chance.random() < 0.05 else text


@pytest.mark.parametrize("many", [2_000, pytest.param(100_000, marks=pytest.mark.soak)])
@pytest.mark.timeout(1800)
def test_mutated_bodies(typed: Shop, lost: list[str], many: int) -> None:
    def send(seed: int) -> dict[int, int]:
        chance, seen = random.Random(seed), dict[int, int]()
        with plain_http.Client(base_url=typed.url, timeout=60) as client:
            for _ in range(many // 4):
                body = mutated(chance)
                headers = {"Content-Type": "text/csv"} if chance.random() < 0.03 else {}
                answer = client.post(chance.choice(SENT), content=body, headers=headers)
                assert answer.status_code < 500, (answer.text, body)
                assert answer.headers["X-Request-ID"]
                assert answer.json().keys() & {"detail", "commit", "outputs"}
                seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        return seen

    with ThreadPoolExecutor(4) as clients:
        seen = list(clients.map(send, range(4)))

    assert {200, 400, 422} <= {status for one in seen for status in one}
    assert lost == []
    assert typed.predict(EXAMPLE).json()["prediction"] == 7


@FEW_OR_MANY
@pytest.mark.timeout(1800)
def test_the_document_of_serve_is_kept_to(typed: Shop, lost: list[str], examples: int) -> None:
    explore(typed.url, examples, leave="/logs$")

    assert lost == []
    assert typed.predict(EXAMPLE).status_code == 200
