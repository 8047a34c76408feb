"""A query with many rows against one with few: the ratio of their times, and scans of whole tables."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session, sessionmaker

ROUNDS, BAR, FLOOR = 15, 3.0, 0.001  # seconds: below that a ratio means nothing
LARGE = (
    "pull_requests",
    "deliveries",
    "outbox",
    "releases",
    "stages",
    "deployments",
    "scores",
    "traffic",
    "hourly_traffic",
    "drift_windows",
    "quality_windows",
    "tracked",
)
PARTITIONS = ("requests_", "ground_truth_")  # of the request log

HAS_BYTES = text("SELECT pg_relation_size(to_regclass(:name)) > 0")

Query = Callable[[Session], Any]


def compared(name: str, query: Query, small: sessionmaker[Session], large: sessionmaker[Session]) -> bool:
    took: dict[str, list[float]] = {"small": [], "large": []}
    for number in range(ROUNDS + 1):
        for size, factory in (("small", small), ("large", large)):
            seconds = timed(query, factory)
            if number:  # the first one compiles the statement
                took[size].append(seconds)
    few, many = (min(took[size]) for size in ("small", "large"))  # the rest is other work on this machine
    ratio = max(many, FLOOR) / max(few, FLOOR)
    whole = scans(query, large)
    fine = ratio <= BAR and not whole
    verdict = f"reads all of {', '.join(whole)}" if whole else "" if fine else f"above {BAR:g}"
    print(f"  {name:36} {1000 * few:7.1f} ms {1000 * many:7.1f} ms {ratio:6.1f}  {verdict}", flush=True)
    return fine


def timed(query: Query, factory: sessionmaker[Session]) -> float:
    with factory() as session:
        session.connection()
        began = time.perf_counter()
        query(session)
        took = time.perf_counter() - began
        session.rollback()
    return took


def scans(query: Query, factory: sessionmaker[Session]) -> list[str]:
    """Return the large tables that the query reads from end to end; days without a row are none."""
    nodes = plan_nodes(query, factory)
    whole = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    large = [name for name in whole if name in LARGE or name.startswith(PARTITIONS)]
    with factory() as session:
        return sorted(name for name in large if session.scalar(HAS_BYTES, {"name": name}))


def find_indexes(query: Query, factory: sessionmaker[Session]) -> set[str]:
    """Return the indexes that the query uses."""
    return {node["Index Name"] for node in plan_nodes(query, factory) if "Index Name" in node}


def plan_nodes(query: Query, factory: sessionmaker[Session]) -> list[dict[str, Any]]:
    """Return all nodes of the plans of the query's statements."""
    plans = []

    def before(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "DELETE", "UPDATE", "WITH")):
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            plans.append(cursor.fetchone()[0])

    engine = factory.kw["bind"]
    event.listen(engine, "before_cursor_execute", before)
    try:
        timed(query, factory)
    finally:
        event.remove(engine, "before_cursor_execute", before)
    return [node for plan in plans for node in with_children(plan[0]["Plan"])]


def with_children(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(found for child in node.get("Plans", ()) for found in with_children(child))]
