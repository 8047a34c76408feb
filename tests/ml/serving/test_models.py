"""Several models behind one address."""

from ml.paths import HomeLayout
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py


def test_each_has_its_own_address(two: Shop) -> None:
    two.model = "other"
    assert two.predict(0, "/models/other/predict").status_code == 503
    two.publish(main_py("return 2"))

    assert two.predict(0, "/models/one/predict").json()["prediction"] == 1
    assert two.predict(0, "/models/other/predict").json()["prediction"] == 2
    assert two.get("/models/other/predict?x=0").json()["prediction"] == 2
    assert two.get("/models/other").json()["release"] == 2


def test_the_root_lists_models_and_a_nameless_prediction_asks(two: Shop) -> None:
    listed = two.get("/").json()["models"]
    page = two.get("/", "text/html").text

    assert [(model["model"], model["release"]) for model in listed] == [("one", 1), ("other", None)]
    assert "The one" in page
    assert 'href="/models/other"' in page
    assert two.get("/ready").json() == {"status": "ready", "waiting": ["other"]}
    assert two.get("/v2/health/ready").status_code == 200
    answer = two.predict(0)
    assert answer.status_code == 404
    assert "There is one, other." in answer.json()["detail"]


def test_a_model_that_cannot_be_served_leaves_others_alone(two: Shop) -> None:
    two.model = "other"
    broken = two.publish(main_py(head="raise RuntimeError"), wait=False)

    two.until(broken, "failed")
    assert two.predict(0, "/models/one/predict").json()["prediction"] == 1


def test_one_that_was_live_and_cannot_be_asked_is_waited_for(two: Shop) -> None:
    two.model = "other"
    release = two.publish(main_py("return 2"))
    assert two.get("/ready").json() == {"status": "ready"}
    HomeLayout(two.settings.home).artifact_path("other", release).unlink()

    with two.serving():
        wait_until(lambda: two.get("/models/one").is_success, 60, "the one is live")
        answer = two.get("/ready")
    assert answer.status_code == 503
    assert "Nothing is live yet of: other" in answer.json()["detail"]
