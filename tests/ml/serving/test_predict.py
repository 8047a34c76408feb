"""Predictions over HTTP, by real workers."""

from tests.ml.serving.support import Shop, main_py


def test_a_prediction_comes_out_with_who_made_it(shop: Shop) -> None:
    release = shop.publish(main_py("return {'got': features, 'model': model.decode()}"))

    answer = shop.predict([1, {"a": None}])

    assert answer.status_code == 200
    assert answer.json() == {
        "prediction": {"got": [1, {"a": None}], "model": "trained"},
        "model": "web-traffic",
        "release": release,
        "commit": shop.release(release).commit,
    }
    assert answer.headers["X-Slipway-Release"] == str(release)
