"""Rolled back twice, started again, looked at anew, merged again: each time what should be live is live."""

from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.ml.serving.support import Shop
from tests.ml.web.api.conftest import operators
from tests.models import working

ROLL_BACK = "/models/web-traffic/rollback"


def says(shop: Shop, value: float) -> None:
    wait_until(lambda: shop.predict(1).json().get("prediction") == [value], 60, f"it predicts {value}")


def test_rolled_back_twice_restarted_and_merged_again(appliance: Appliance) -> None:
    shop = Shop(appliance.serving, appliance.sessions, appliance.repository)
    with shop.serving(), operators(shop) as operator:
        for value in (1.0, 2.0, 3.0):
            appliance.merge(working.quick(value=value))
            appliance.settle()
            says(shop, value)
        for value in (2.0, 1.0):
            assert operator(ROLL_BACK).status_code == 202
            says(shop, value)
        assert operator(ROLL_BACK).status_code == 409
        appliance.settle()

    with shop.serving():
        says(shop, 1.0)
        appliance.settle()
        assert shop.predict(1).json()["prediction"] == [1.0]
        assert len(appliance.releases()) == 3
        appliance.merge(working.quick(value=4.0))
        appliance.settle()
        says(shop, 4.0)


def test_what_builds_during_a_rollback_waits_for_an_operator(appliance: Appliance) -> None:
    shop = Shop(appliance.serving, appliance.sessions, appliance.repository)
    with shop.serving(), operators(shop) as operator:
        for value in (1.0, 2.0):
            appliance.merge(working.quick(value=value))
            appliance.settle()
            says(shop, value)
        appliance.merge(working.quick(value=3.0, seconds=1))
        building = appliance.wait_for_stage("train").id

        operator(ROLL_BACK)
        says(shop, 1.0)
        appliance.settle()

        waiting = shop.get(f"/releases/{building}").json()
        assert waiting["status"] == "passed"
        assert "rolled back while it was on its way" in waiting["hold"]
        assert shop.predict(1).json()["prediction"] == [1.0]
        assert operator(f"/releases/{building}/deploy").status_code == 202
        says(shop, 3.0)
