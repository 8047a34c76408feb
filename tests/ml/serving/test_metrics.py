"""/metrics says what was asked, how long it took, what the workers do, and whether the look-out looks."""

from collections.abc import Callable

import psutil
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from ml.serving.counters import LATENCY_BOUNDS_SECONDS, estimate_quantile
from tests.harness.processes import command_line
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Load, Shop, main_py


def read(shop: Shop) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(shop.get("/metrics").text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(shop: Shop, name: str, **labels: str) -> float | None:
    return read(shop).get((name, frozenset(labels.items())))


def test_calls_are_counted_by_model_kind_and_status(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        shop.publish(main_py("return 1 / features"))
        for features in (1, 2, 0):
            shop.predict(features)
        shop.get("/predict?x=1")
        shop.client.post(f"{shop.url}/v1/models/web-traffic:predict", json={"instances": [1, 2]})
        shop.client.post(f"{shop.url}/models/%3Cb%3Eno%20such/predict", json=1)

        model = {"model": "web-traffic"}
        assert value(shop, "slipway_requests_total", **model, call="predict", status="200") == 3
        assert value(shop, "slipway_requests_total", **model, call="predict", status="500") == 1
        assert value(shop, "slipway_requests_total", **model, call="v1", status="200") == 1
        assert value(shop, "slipway_requests_total", model="", call="predict", status="404") == 1
        assert value(shop, "slipway_request_seconds_count", **model, call="predict") == 4
        assert value(shop, "slipway_request_seconds_bucket", **model, call="predict", le="+Inf") == 4
        assert "no such" not in shop.get("/metrics").text


def test_what_asks_for_no_prediction_is_not_counted(shop: Shop) -> None:
    shop.publish(main_py())
    model = "/models/web-traffic"
    for path in ("/predict", "/v1" + model, "/v2", "/v2/health/ready", f"/v2{model}", f"/v2{model}/ready"):
        shop.get(path)
    shop.get("/predict", "text/html")

    assert not [labels for name, labels in read(shop) if name == "slipway_requests_total"]


def test_what_is_live_and_what_its_workers_did(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        release = shop.publish(main_py(more="def predict_batch(self, model, rows): return rows"))
        with Load(shop, clients=4) as load:
            load.wait_for(50)
        for process in psutil.Process().children(recursive=True):
            if "serve" in command_line(process):
                process.kill()
        wait_until(
            lambda: value(shop, "slipway_worker_restarts_total", model="web-traffic") == 1, 30, "a new one"
        )

        commit = shop.release(release).commit
        facts = {"model": "web-traffic", "release": str(release), "commit": commit}
        assert value(shop, "slipway_live_info", **facts) == 1
        assert value(shop, "slipway_live_release", model="web-traffic") == release
        assert value(shop, "slipway_workers", model="web-traffic") == 1
        assert value(shop, "slipway_requests_waiting", model="web-traffic") == 0
        assert value(shop, "slipway_requests_in_flight", model="web-traffic") == 0
        assert (value(shop, "slipway_batch_rows_sum", model="web-traffic") or 0) >= 50


def test_a_look_out_that_no_longer_looks_is_seen(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        assert value(shop, "slipway_seconds_since_last_look") is None
        with shop.sessions.begin() as session:
            moment = "now() - interval '1 hour'"
            session.execute(text(f"INSERT INTO appliance (id, mode, looked_at) VALUES (1, 'demo', {moment})"))
        since = value(shop, "slipway_seconds_since_last_look")
        assert since is not None
        assert since >= 3600


def test_quantiles_lie_between_the_bounds_that_hold_them() -> None:
    counts = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
    counts[LATENCY_BOUNDS_SECONDS.index(0.0015)], counts[LATENCY_BOUNDS_SECONDS.index(0.5)] = 98, 2

    assert 0.001 < estimate_quantile(counts, 0.5) < 0.0015
    assert 0.3 < estimate_quantile(counts, 0.99) <= 0.5
    assert estimate_quantile([0] * len(LATENCY_BOUNDS_SECONDS) + [5], 0.5) == LATENCY_BOUNDS_SECONDS[-1]
