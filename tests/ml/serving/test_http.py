"""The calls for programs: what comes back when all is well, and when it is not."""

import json
from collections.abc import Callable

import httpx
import pytest

from db.models import Release, Stage
from db.states import Status
from ml.paths import HomeLayout
from tests.ml.serving.support import Shop, main_py


@pytest.fixture(scope="module")
def echo(start_lasting_shop: Callable[[], Shop]) -> Shop:
    """A model that gives back what it gets."""
    shop = start_lasting_shop()
    shop.publish(main_py("return [features]"), kind="time-series")
    return shop


def post(shop: Shop, body: bytes, path: str = "/predict") -> httpx.Response:
    return shop.client.post(shop.url + path, content=body)


@pytest.mark.parametrize(
    ("query", "features"),
    [
        ("num_days=7", 7),
        ("anything=7", 7),
        ("x=-1.5e3", -1500.0),
        ("x=true", True),
        ("x=null", None),
        ("x=paris", "paris"),
        ("x=%227%22", "7"),
        ("x=Zürich%20West", "Zürich West"),
        ("x=[1,2]", [1, 2]),
        ("x=1&x=2", [1, 2]),
        ("x=1&y=false&z=a", {"x": 1, "y": False, "z": "a"}),
        ("x=007", "007"),
        ("x=NaN", "NaN"),
        ("x=1&empty=", 1),
    ],
)
def test_features_in_an_address(echo: Shop, query: str, features: object) -> None:
    answer = echo.get(f"/predict?{query}")

    assert answer.json()["prediction"] == [features]
    assert answer.headers["X-Slipway-Release"] == "1"
    assert echo.get(f"/models/web-traffic/predict?{query}").json() == answer.json()


@pytest.mark.parametrize(
    "body", [b"1", b' {"features": [1, 2]} ', b'"\\u0000"', b"[[[]]]", b"null", b'"a\\nb"']
)
def test_a_body_is_the_features_whatever_json_it_is(echo: Shop, body: bytes) -> None:
    answer = post(echo, body)

    assert answer.status_code == 200
    assert answer.json()["prediction"] == [httpx.Response(200, content=body).json()]
    assert post(echo, body, "/models/web-traffic/predict").json() == answer.json()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"NaN", 400),
        (b"1 2", 400),
        (b"1],[2", 400),
        (b'"\xff"', 400),
        (b"[" * 500_000, 400),
        (b"9" * 5000, 400),
        (b"1" + b" " * (1 << 20), 413),
    ],
)
def test_a_bad_body_gets_a_problem_document(echo: Shop, body: bytes, status: int) -> None:
    answer = post(echo, body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]
    assert echo.predict(1).status_code == 200


def test_a_body_without_a_length_is_bounded_too(echo: Shop) -> None:
    answer = echo.client.post(echo.url + "/predict", content=(b" " * 65536 for _ in range(40)))

    assert answer.status_code == 413
    assert echo.predict(1).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/models/other", 404),
        ("GET", "/models/other/predict?x=1", 404),
        ("POST", "/models/other/predict", 404),
        ("GET", "/releases/99", 404),
        ("GET", "/releases/99999999999999999999", 404),
        ("GET", "/releases/99/logs", 404),
        ("GET", "/releases/x", 422),
        ("PUT", "/predict", 405),
        ("GET", "/predict", 400),
    ],
)
def test_what_is_not_there_is_a_problem_document_or_a_page(
    echo: Shop, method: str, path: str, status: int
) -> None:
    answer = echo.client.request(method, echo.url + path, content=b"1" if method == "POST" else None)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_nothing_live_says_what_is_being_done_about_it(shop: Shop) -> None:
    assert "POST /checkout" in shop.get("/").json()["detail"]
    assert shop.get("/").status_code == 503
    assert shop.get("/ready").status_code == 503
    assert shop.get("/health").status_code == 200
    assert shop.predict(1).status_code == 503
    assert shop.get("/releases").json()["releases"] == []

    with shop.sessions.begin() as session:
        release = Release(
            model=shop.model,
            repository="acme/web-traffic",
            commit="a" * 40,
            status=Status.BUILDING,
            pull_request=1,
        )
        session.add(release)
        session.flush()
        session.add(Stage(release_id=release.id, name="train"))

    detail = shop.get("/").json()["detail"]
    assert detail.startswith("Building #1 (release 1): train for ")


def test_the_live_model_and_its_releases(shop: Shop) -> None:
    old = shop.publish(main_py("print('hello from the model'); return 1"))
    new = shop.publish(main_py("return 2"), info={"Name": "Two"}, metrics={"SMAPE": 0.1})

    live = shop.get("/").json()
    listed = shop.get("/releases").json()["releases"]
    shown = shop.get(f"/releases/{new}").json()

    assert (live["model"], live["release"], live["kind"]) == ("web-traffic", new, "generic")
    assert (live["info"], live["metrics"]) == ({"Name": "Two"}, {"SMAPE": 0.1})
    assert live["commit"] == shop.release(new).commit
    assert live == shop.get("/models/web-traffic").json()
    assert [(release["id"], release["live"]) for release in listed] == [(new, True), (old, False)]
    assert shown["deployment"]["state"] == "live"
    assert shown["stages"] == []
    assert shop.get("/ready").json() == {"status": "ready"}


def test_logs_come_in_the_order_of_the_stages(shop: Shop) -> None:
    release = shop.publish(main_py("print('hello from the model')"))
    logs = HomeLayout(shop.settings.home).logs_path(release)
    for name in ("evaluate", "train", "environment"):
        (logs / f"{name}.log").write_text(f"{name} \N{EURO SIGN}\n")
    shop.predict(1)

    text = shop.get(f"/releases/{release}/logs").text

    assert [line for line in text.splitlines() if line.startswith("==")] == [
        "== environment ==",
        "== train ==",
        "== evaluate ==",
        "== serve ==",
    ]
    assert "train \N{EURO SIGN}" in text
    assert "hello from the model" in text


def test_a_generator_of_clients_can_read_the_openapi_document(shop: Shop) -> None:
    shop.publish(main_py())
    for address in ("/openapi.json", "/models/web-traffic/openapi.json"):
        document = shop.get(address).json()
        assert document["components"]["schemas"]["Tensor"]["properties"]["data"]["items"] == {}
        assert json.dumps(document).count("Problem (RFC 9457)") == 1

    paths = shop.get("/openapi.json").json()["paths"]
    assert list(paths["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]
    logs = paths["/releases/{number}/logs"]["get"]["responses"]["200"]["content"]
    assert list(logs) == ["text/plain", "text/event-stream"]


@pytest.mark.parametrize("path", ["/predict", "/models/web-traffic/predict"])
def test_what_is_not_allowed_says_what_is(path: str, shop: Shop) -> None:
    answer = shop.client.put(shop.url + path, content=b"1")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert "features are sent by POST" in answer.json()["detail"]


@pytest.mark.parametrize("given", [None, "3"])
def test_libraries_of_a_worker_compute_in_one_thread(
    given: str | None, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    with make_shop().serving() as shop:
        shop.publish(main_py("return [os.environ.get('OMP_NUM_THREADS'), os.environ['PYTHONUNBUFFERED']]"))
        assert shop.predict(1).json()["prediction"] == [given or "1", "1"]


def test_openapi_has_the_call_and_features_that_work(shop: Shop) -> None:
    shop.publish(main_py(features="features: int", more="def examples(self): return [41]"))

    call = shop.get("/openapi.json").json()["paths"]["/predict"]["post"]
    body = call["requestBody"]["content"]["application/json"]

    assert body["schema"]["type"] == "integer"
    assert body["example"] == 41
    assert shop.predict(body["example"]).json()["prediction"] == 41
