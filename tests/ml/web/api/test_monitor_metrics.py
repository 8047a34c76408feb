"""The monitor's metrics are those in Postgres, bounded; dashboard and alerts ask only for what there is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, text

from db import monitor_metrics
from db.monitor_models import MonitorState
from db.retraining_models import RetrainingPlan
from ml.web.api.monitor_metrics import CACHE_SECONDS, MAX_METRICS, MonitorMetrics
from tests.harness import monitored
from tests.harness.monitored import add_quality, interval
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py
from tests.ml.serving.test_metrics import read, value

RESOURCES = Path(__file__).parents[4] / "resources"
ALERTS = RESOURCES / "prometheus" / "alerts.yaml"
DASHBOARD = RESOURCES / "grafana" / "slipway.json"
SELECTOR = re.compile(r"\b(slipway_\w+)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def list_dashboard_expressions(found: Any) -> Iterator[str]:
    """Yield each expression of a dashboard, of its variables too."""
    if isinstance(found, dict):
        for key, inner in found.items():
            if key in ("expr", "query") and isinstance(inner, str):
                yield inner
            yield from list_dashboard_expressions(inner)
    elif isinstance(found, list):
        for inner in found:
            yield from list_dashboard_expressions(inner)


def list_alert_expressions() -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def read_labels(shop: Shop) -> dict[str, set[str]]:
    """Return the labels of each sample of a scrape."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(shop.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def fill(shop: Shop) -> tuple[int, int]:
    before, live = shop.publish(main_py()), shop.publish(main_py("return 2"))
    monitored.fill(shop.sessions, shop.model, before, live)
    shop.predict(1)
    with shop.sessions.begin() as session:
        now = datetime.now(UTC)
        session.add(RetrainingPlan(model=shop.model, next_at=now))
        session.execute(text("INSERT INTO appliance (id, mode, looked_at) VALUES (1, 'demo', now())"))
    return before, live


def test_dashboard_and_alerts_name_metrics_and_labels_that_exist(shop: Shop) -> None:
    fill(shop)
    wait_until(lambda: value(shop, "slipway_drift", model=shop.model) is not None, 30, "it is read again")
    there = read_labels(shop)
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [*list_alert_expressions(), *list_dashboard_expressions(dashboard)]
    asked = [(name, labels or "") for one in expressions for name, labels in SELECTOR.findall(one)]
    assert len(asked) > 30
    for name, labels in asked:
        assert name in there, name
        assert set(re.findall(r"(\w+)\s*[=!]", labels)) <= there[name], (name, labels)
    for one in expressions:
        known = set().union(*(there[name] for name, _ in SELECTOR.findall(one)))
        for group in GROUPING.findall(one):
            assert set(re.split(r",\s*", group)) <= known, one
    legends = set(re.findall(r"\{\{(\w+)\}\}", DASHBOARD.read_text()))
    assert legends <= {"model", "window", "metric", "status", "outcome"}
    monitor = {name for name in there if re.match(r"slipway_(drift|decay|quality|monitor|ground)", name)}
    assert monitor <= {name for name, _ in asked}, "what is measured is shown"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus")
def test_promtool_takes_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", ALERTS], check=True, timeout=60)


def test_every_panel_has_its_place() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [
        {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        for box in (panel["gridPos"] for panel in panels)
    ]
    assert sum(map(len, places)) == len(set().union(*places))
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["description"] for panel in panels)


def test_what_was_measured_last_is_scraped(shop: Shop) -> None:
    fill(shop)
    model = {"model": shop.model}
    wait_until(lambda: value(shop, "slipway_drift", **model) is not None, 30, "it is read again")

    assert value(shop, "slipway_drift", **model) == value(shop, "slipway_decay", **model) == 1
    assert value(shop, "slipway_monitor_failed", **model) == 0
    worst = value(shop, "slipway_drift_worst_ratio", **model, window="day")
    assert worst is not None
    assert worst > 1
    assert value(shop, "slipway_drift_rows", **model, window="newest") == 1000
    week = {**model, "window": "week"}
    measured, low, high = (
        value(shop, f"slipway_quality{end}", **week, metric="SMAPE") for end in ("", "_low", "_high")
    )
    assert measured is not None
    assert low is not None
    assert high is not None
    assert low < measured < high
    assert value(shop, "slipway_ground_truth_coverage_ratio", **week) == pytest.approx(0.417, abs=0.01)
    assert value(shop, "slipway_quality", **model, window="day", metric="R2") is None  # it has no value


def test_names_of_a_model_are_few_and_short(shop: Shop) -> None:
    live = shop.publish(main_py())
    metrics = {f'{"x" * 500}"}}\n{number}': interval(number, 1) for number in range(100)}
    metrics |= {f"m{number}": interval(number, 1) for number in range(100)}
    add_quality(shop.sessions, shop.model, live, metrics)
    wait_until(lambda: any(name == "slipway_quality" for name, _ in read(shop)), 30, "it is read again")
    families = text_string_to_metric_families(shop.get("/metrics").text)
    [quality] = [family for family in families if family.name == "slipway_quality"]
    found = [sample.labels["metric"] for sample in quality.samples]

    assert len(set(found)) == len(found) <= MAX_METRICS
    assert all(len(name) <= 100 for name in found)


def test_a_scrape_reads_postgres_at_most_every_few_seconds(shop: Shop) -> None:
    live = shop.publish(main_py())
    with shop.sessions.begin() as session:
        session.add(MonitorState(model=shop.model, release_id=live, suspicion={}))
    statements: list[str] = []
    engine = shop.sessions.kw["bind"]

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    def summarize() -> monitor_metrics.MonitorSummary:
        with shop.sessions.begin() as session:
            return monitor_metrics.summarize(session, [shop.model])

    metrics = MonitorMetrics(summarize)
    event.listen(engine, "before_cursor_execute", note)
    try:
        for _ in range(50):
            assert len(list(metrics.collect())) == 11
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 3
    assert CACHE_SECONDS < 15  # Prometheus's own pace
