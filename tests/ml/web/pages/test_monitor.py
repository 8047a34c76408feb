"""The monitor's page says what was measured, what was not and why; nothing that it is given breaks it."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.monitor_models import MonitorState
from ml.web.pages.prediction_shift import compare_answers
from tests.harness import monitored
from tests.harness.monitored import add_drift, add_quality, interval, record_answers
from tests.ml.serving.support import Shop, main_py

PAGE, HTML = "/models/web-traffic/monitor", "text/html"
HOSTILE = [
    "<script>alert(1)</script>",
    "\u202e" + "x" * 10_000,
    "مرحبا بالعالم",
    '"><img src=x>',
    "{{ 7*7 }}",
    "\x00",
]
HUGE = [1e308, -1e308, 1e-320, 0, -0.0, 2**70]


def read(shop: Shop, query: str = "") -> Any:
    answer = shop.get(PAGE + query)
    assert answer.status_code == 200
    return answer.json()


def test_what_is_missing_says_what_to_do(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        shop.publish(main_py())
        page = shop.get(PAGE, HTML).text

    assert "No ground truth yet." in page
    assert f"{shop.url}/models/web-traffic/ground-truth" in page
    assert "100 of them from 20 calls" in page
    assert "No other release was live before" in page
    assert "not measured yet" in page
    assert "at most every 15m" in page
    assert "None so far." in page


def test_what_is_off_is_named(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_MONITOR="0", SLIPWAY_RECORD="0").serving() as shop:
        shop.publish(main_py())
        page, document = shop.get(PAGE, HTML).text, read(shop)

    assert "The monitor is off (<code>SLIPWAY_MONITOR=0</code>)" in page
    assert "No requests are recorded (<code>SLIPWAY_RECORD=0</code>)" in page
    assert (document["monitor"]["is_on"], document["monitor"]["is_recording"]) == (False, False)


def test_too_few_rows_are_said_with_their_number(shop: Shop) -> None:
    live = shop.publish(main_py())
    add_drift(shop.sessions, shop.model, live)
    few = {"status": "too few", "reason": "12 of 30 rows", "rows": 12, "recorded": 400}
    add_quality(shop.sessions, shop.model, live, {}, **few)
    page = shop.get(PAGE, HTML).text

    assert "40 rows to compare, and 100 are needed" in page
    assert "12 of 30 rows" in page
    assert "12 of 400 rows <small>(3 %)</small>" in page


def test_a_monitored_day_is_whole(shop: Shop) -> None:
    before, live = shop.publish(main_py()), shop.publish(main_py("return 2"))
    monitored.fill(shop.sessions, shop.model, before, live)
    document, page = read(shop), shop.get(PAGE, HTML).text

    assert document["monitor"]["drift"]["reason"].startswith("age")
    assert document["drift"]["newest"][0]["columns"][0]["name"] == "age"
    assert len(document["drift"]["points"]) >= 20
    newest = {one["window"]: one for one in document["quality"]["newest"]}
    assert set(newest) == {"day", "week", "month"}
    assert newest["week"]["status"] == "decay"
    assert {one["release"] for one in document["quality"]["points"]} == {before, live}
    shift = document["predictions"]
    assert (shift["before"]["release"], shift["live"]["release"]) == (before, live)
    assert shift["distribution"]["values"] == [400, 400]
    assert page.count("<svg ") >= 4 + 1 + 9 + 1
    assert page.count("as a table") >= page.count("<svg ")
    assert "<strong>Drift</strong> since" in page
    for path in ("/", "/models/web-traffic"):
        assert "<strong>Decay</strong> since" in shop.get(path, HTML).text


def test_the_period_and_the_window_are_those_of_the_address(shop: Shop) -> None:
    live = shop.publish(main_py())
    for hours in (0.2, 20, 500):
        made_at = datetime.now(UTC) - timedelta(hours=hours)
        for window in ("day", "month"):
            add_quality(shop.sessions, shop.model, live, {}, window=window, made_at=made_at)
        add_drift(shop.sessions, shop.model, live, made_at=made_at)

    for hours, count in (("1", 1), ("24", 2), ("720", 3), ("<b>", 2)):
        document = read(shop, f"?hours={hours}&window=month")
        assert len(document["quality"]["points"]) == len(document["drift"]["points"]) == count
        assert {one["window"] for one in document["quality"]["points"]} == {"month"}
    assert read(shop, "?window=year")["quality"]["window"] == "week"


def test_hostile_names_are_only_text(shop: Shop) -> None:
    live = shop.publish(main_py())
    text = "".join(HOSTILE)
    findings = []
    for name in (*HOSTILE, text):
        finding = json.loads(json.dumps(COLUMN)) | {"name": name, "reason": name, "kind": name}
        finding["distribution"]["labels"] = [name, "b"]
        findings.append(finding)
    add_drift(shop.sessions, shop.model, live, findings=findings, status="drift", reason=text)
    metrics = {name: interval(1.0, 0.1) | {"reason": name} for name in HOSTILE}
    add_quality(shop.sessions, shop.model, live, metrics, reason=text, status=text, kind=text)
    with shop.sessions.begin() as session:
        state = {"drift_since": datetime.now(UTC), "drift_reason": text, "problem": text}
        session.add(MonitorState(model=shop.model, release_id=live, suspicion={}, **state))
    for path in (PAGE, "/"):
        answer = shop.get(path, HTML)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert "\u202e" not in answer.text
        assert "x" * 1001 not in answer.text
    read(shop)


def test_hostile_numbers_are_drawn_or_left_out(shop: Shop) -> None:
    live = shop.publish(main_py())
    for value in (*HUGE, None, "NaN", True, [], {}):
        check_number(shop, live, value)


def check_number(shop: Shop, live: int, value: Any) -> None:
    comparison = {"statistic": "wasserstein", "value": value, "threshold": 0.0, "before": value}
    finding = COLUMN | {"comparisons": [comparison, comparison | {"threshold": value, "before": 0}]}
    add_drift(shop.sessions, shop.model, live, findings=[finding], status="drift", reason="r")
    metrics = {"MAE": {"value": value, "low": value, "high": value}, "RMSE": value}
    add_quality(shop.sessions, shop.model, live, metrics, recorded=0, rows=2**31 - 1)
    read(shop)
    page = shop.get(PAGE, HTML)
    assert page.status_code == 200
    assert not re.search(r"\b(nan|inf)\b", page.text.partition("<h1>")[2].lower()), value


def test_a_distribution_of_another_version_costs_its_chart(shop: Shop) -> None:
    live = shop.publish(main_py())
    findings = [COLUMN | {"distribution": stored} for stored in ODD_DISTRIBUTIONS]
    add_drift(shop.sessions, shop.model, live, findings=findings, status="drift")
    page = shop.get(PAGE, HTML)
    assert page.status_code == 200
    assert page.text.count("It has no values to draw.") == len(ODD_DISTRIBUTIONS)


def test_very_many_columns_are_bounded(shop: Shop) -> None:
    live = shop.publish(main_py())
    findings = [COLUMN | {"name": f"c{number}"} for number in range(1000)]
    add_drift(shop.sessions, shop.model, live, findings=findings, status="drift")
    page, document = shop.get(PAGE, HTML).text, read(shop)

    [window] = document["drift"]["newest"]
    assert (len(window["columns"]), window["left_out"]) == (200, 800)
    assert "800 more columns" in page
    assert len(page) < 600_000


ODD_DISTRIBUTIONS: list[Any] = [
    None,
    {},
    "numbers",
    {"of": "numbers", "edges": [0, 0], "before": [1], "now": [0], "values": [1, 0]},
    {"of": "numbers", "edges": [-1e308, 1e308], "before": [1], "now": [1], "values": [1, 1]},
    {"of": "numbers", "edges": ["a", {}], "before": [1], "now": [1], "values": [1, 1]},
    {"of": "numbers", "edges": [0, 1], "before": [], "now": [], "values": [0, 0]},
    {"of": "labels", "labels": [], "before": [], "now": [], "unseen": 1, "values": [0, 9]},
    {"of": "labels", "labels": ["a"], "before": [7], "now": [-3], "values": [1, 1]},
    {"of": "labels", "labels": ["a"], "before": ["x"], "now": [None], "values": ["a", 1]},
]
SERIES = [["2026-01-01", 1.0], ["2026-01-02", 3.0]]
ANSWERS: dict[str, tuple[list[Any], list[Any], str, float]] = {
    "numbers": ([*range(40)], [39] * 40, "numbers", 1.9),
    "labels": (["cat", "dog"] * 40, ["dog", "bird"] * 40, "labels", 0.5),
    "probabilities": ([{"cat": 0.9, "dog": 0.1}] * 40, [{"cat": 0.2, "dog": 0.8}] * 40, "labels", 1.0),
    "series": ([SERIES, [1, 2]] * 40, [SERIES] * 40, "labels", 1.0),  # their means: 2 and 1.5
    "texts": ([f"answer {number:02}" for number in range(40)], ["longer" * 9] * 40, "lengths", 2.0),
    "nested": ([{"a": [1, 2]}] * 40, [{"b": None, "c": 1}] * 40, "lengths", 2.0),
    "anything": ([None, 1e308, True, "x"] * 10, [-(2**70), [], {}, [[[]]]] * 10, "labels", 1.0),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_predictions_of_any_kind_are_compared(kind: str) -> None:
    before, now, of, changed = ANSWERS[kind]
    found = compare_answers(before, now)
    assert found is not None
    assert found["of"] == of
    assert sum(
        abs(one - other) for one, other in zip(found["before"], found["now"], strict=True)
    ) == pytest.approx(changed, abs=0.001)


def test_a_release_with_too_few_predictions_is_named(shop: Shop) -> None:
    before, live = shop.publish(main_py()), shop.publish(main_py("return 2"))
    monitored.age_deployments(shop.sessions, {before: 30, live: 14})
    record_answers(shop.sessions, shop.model, live, datetime.now(UTC) - timedelta(minutes=5), [1.0] * 29)
    page = shop.get(PAGE, HTML).text
    assert f"Too few: 0 recorded predictions of release {before} and 29 of release {live}. 30 of each" in page


def test_the_live_gates_metric_is_named_with_the_measured_one(shop: Shop) -> None:
    live = shop.publish(main_py(), metrics={"smape": 0.25, "Odd": 1.0})
    add_quality(shop.sessions, shop.model, live, {"MAE": interval(1, 0.1), "SMAPE": interval(0.3, 0.1)})
    page = shop.get(PAGE, HTML).text
    assert "Dotted: 0.25 at the gate of the live release" in page
    assert page.index("<strong><bdi>SMAPE") < page.index("<strong><bdi>MAE")


def test_there_is_no_page_of_a_model_that_there_is_not(shop: Shop) -> None:
    assert shop.get("/models/nobody/monitor").status_code == 404


COLUMN: dict[str, Any] = {
    "name": "plan",
    "is_prediction": False,
    "kind": "category",
    "status": "drift",
    "probability": 0.0,
    "reason": "the shares of its categories changed",
    "comparisons": [
        {
            "statistic": "jensen_shannon",
            "value": 0.3,
            "threshold": 0.1,
            "before": 0.0,
            "probability": 0.0,
            "rows": 9.0,
            "is_large": True,
        }
    ],
    "distribution": {
        "of": "labels",
        "edges": [],
        "labels": ["a", "b"],
        "before": [0.6, 0.4],
        "now": [0.2, 0.1],
        "other": [0.0, 0.0],
        "unseen": 0.7,
        "values": [1000, 500],
    },
}
