"""Several models behind one address."""

from tests.ml.serving.support import Shop, main_py


def test_each_has_its_own_address(two: Shop) -> None:
    two.model = "other"
    assert two.predict(0, "/models/other/predict").status_code == 503
    two.publish(main_py("return 2"))

    assert two.predict(0, "/models/one/predict").json()["prediction"] == 1
    assert two.predict(0, "/models/other/predict").json()["prediction"] == 2
    assert two.get("/models/other/predict?x=0").json()["prediction"] == 2
    assert two.get("/models/other").json()["release"] == 2


def test_the_root_lists_them_and_a_prediction_without_a_name_asks_which(two: Shop) -> None:
    listed = two.get("/").json()["models"]
    page = two.get("/", "text/html").text

    assert [(model["model"], model["release"]) for model in listed] == [("one", 1), ("other", None)]
    assert "The one" in page
    assert 'href="/models/other"' in page
    assert two.get("/ready").status_code == 503
    answer = two.predict(0)
    assert answer.status_code == 404
    assert "There is one, other." in answer.json()["detail"]


def test_a_model_that_cannot_be_served_leaves_the_other_one_alone(two: Shop) -> None:
    two.model = "other"
    broken = two.publish(main_py(head="raise RuntimeError"), wait=False)

    two.until(broken, "failed")
    assert two.predict(0, "/models/one/predict").json()["prediction"] == 1
