"""What is asked often, with a million rows and with a thousand: the ratio, and scans of whole tables."""

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from cli.postgres import Postgres
from db import databases, deployments, migrate, predictions, pull_requests, releases, tracking
from db.models import Prediction, Release
from db.pull_requests import Accepted
from db.session import driver_url, sessions
from ml.api import documents
from ml.pages.releases import not_served, rollback_target
from ml.pages.standing import standings

ROUNDS, BAR, FLOOR = 15, 3.0, 0.001  # seconds: below that a ratio says nothing
REPOSITORY, MODEL = "acme/model-0", "model-0"
LARGE = ("pull_requests", "releases", "stages", "deployments", "predictions", "tracked")
MODELS = 10

Query = Callable[[Session], Any]

FILL = Path(__file__).with_suffix(".sql")


def main() -> bool:
    """Whether no query takes more than `BAR` times as long, or reads the whole of a large table."""
    settings = {"fsync": "off", "synchronous_commit": "off", "max_wal_size": "2GB"}
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        server = Postgres(Path(folder) / "postgres", settings=settings).start()
        try:
            small = filled(server, "small", pulls=1000, made=1000, sampled=1000)
            large = filled(server, "large", pulls=1_000_000, made=100_000, sampled=1_000_000)
            fine = [compared(name, query, small, large) for name, query in queries(large).items()]
            return all(fine)
        finally:
            server.stop()


def filled(server: Postgres, name: str, *, pulls: int, made: int, sampled: int) -> sessionmaker[Session]:
    databases.create(server.url(), name)
    migrate.upgrade(server.url(name))
    engine = create_engine(driver_url(server.url(name)), isolation_level="AUTOCOMMIT")
    sizes = {"pulls": pulls, "releases": made, "predictions": sampled, "every": pulls // made}
    with engine.connect() as connection:
        for statement in FILL.read_text().format(models=MODELS, **sizes).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return sessions(server.url(name))


def queries(large: sessionmaker[Session]) -> dict[str, Query]:
    """What the look-out, the gateway, the tracker and the pages ask, by a name for it."""
    with large.begin() as session:
        merges = pull_requests.accepted(session, REPOSITORY, "main", 200)
    commits = [merge.commit for merge in merges[:50]]
    models = [f"model-{n}" for n in range(MODELS)]
    return {
        "merges of a branch": lambda s: pull_requests.accepted(s, REPOSITORY, "main", 200),
        "pull requests, accepted": lambda s: pull_requests.listed(
            s, REPOSITORY, "main", "accepted", limit=51
        ),
        "pull requests, open": lambda s: pull_requests.listed(s, REPOSITORY, "main", "open", limit=51),
        "pull requests, the last page": lambda s: pull_requests.listed(
            s, REPOSITORY, "main", "all", limit=51, before=500
        ),
        "releases of commits": lambda s: releases.of_commits(s, REPOSITORY, commits),
        "look: queue what was merged": lambda s: releases.queue_merges(s, MODEL, merged(s)),
        "look: what is building": releases.building,
        "look: what is due": lambda s: releases.due(s, MODEL),
        "look: when the next is due": releases.next_due_in,
        "look: whether merges are tied": lambda s: releases.is_tied(s, MODEL, merges),
        "gate: what was live lately": lambda s: releases.lately_live(s, MODEL, "abc"),
        "look: on merges or tags": lambda s: releases.releases_on(s, MODEL),
        "tidy: prune": lambda s: releases.prune(s, MODEL, 20),
        "tidy: what is kept": releases.kept,
        "page: releases": lambda s: page_of_releases(s, None),
        "page: releases of a model": lambda s: page_of_releases(s, MODEL),
        "page: overview": lambda s: standings(s, {model: live(s, model) for model in models}),
        "page: a release": lambda s: documents.whole(s, documents.find(s, live_id(s))),
        "page: where a rollback goes": lambda s: rollback_target(s, MODEL),
        "page: when it was live": lambda s: deployments.ends(s, live_id(s)),
        "call: train a commit": lambda s: releases.commits(s, MODEL, 100),
        "follow: live and wanted": lambda s: (deployments.live(s, MODEL), deployments.wanted(s, MODEL)),
        "gate: what is decided": lambda s: deployments.look(s, MODEL),
        "gate: recorded requests": lambda s: predictions.distinct_features(s, MODEL, 200),
        "recorder: 50 predictions": lambda s: predictions.record(s, sampled()),
        "MLflow: what is untold": lambda s: tracking.untold(s, ended=True),
        "MLflow: what has begun": lambda s: tracking.untold(s, ended=False),
        "MLflow: whether aliases wait": lambda s: tracking.is_waiting(s, MODEL),
    }


def merged(session: Session) -> list[Accepted]:
    """A merge that is new, and the newest that is known."""
    [newest] = releases.history(session, MODEL, 1)
    commits = ["f" * 40, newest.commit]
    return [Accepted(REPOSITORY, 1, None, None, commit, datetime.now(UTC)) for commit in commits]


def page_of_releases(session: Session, model: str | None) -> object:
    found = releases.history(session, model, 50)
    return documents.summaries(session, found), not_served(session, found)


def live(session: Session, model: str) -> Release | None:
    found = deployments.live(session, model)
    return found.release if found else None


def live_id(session: Session) -> int:
    found = live(session, MODEL)
    assert found is not None
    return found.id


def sampled() -> list[Prediction]:
    request, answer = {"features": {"days": 3}}, {"prediction": [1.0, 2.0, 3.0]}
    return [Prediction(model=MODEL, release_id=1, request=request, answer=answer) for _ in range(50)]


def compared(name: str, query: Query, small: sessionmaker[Session], large: sessionmaker[Session]) -> bool:
    took: dict[str, list[float]] = {"small": [], "large": []}
    for number in range(ROUNDS + 1):
        for size, factory in (("small", small), ("large", large)):
            seconds = timed(query, factory)
            if number:  # the first one compiles the statement
                took[size].append(seconds)
    few, many = (statistics.quantiles(took[size], n=4)[0] for size in ("small", "large"))
    ratio = max(many, FLOOR) / max(few, FLOOR)
    whole = scans(query, large)
    fine = ratio <= BAR and not whole
    said = f"reads all of {', '.join(whole)}" if whole else "" if fine else f"above {BAR:g}"
    print(f"  {name:30} {1000 * few:7.1f} ms {1000 * many:7.1f} ms {ratio:6.1f}  {said}", flush=True)
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
    """The large tables that it reads from end to end."""
    plans = []

    def explain(cursor: Any, statement: str, parameters: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "DELETE", "UPDATE", "WITH")):
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            plans.append(cursor.fetchone()[0])

    def before(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        explain(cursor, statement, parameters)

    engine = factory.kw["bind"]
    event.listen(engine, "before_cursor_execute", before)
    try:
        timed(query, factory)
    finally:
        event.remove(engine, "before_cursor_execute", before)
    return sorted({table for plan in plans for table in scanned(plan[0]["Plan"]) if table in LARGE})


def scanned(node: dict[str, Any]) -> list[str]:
    below = [table for child in node.get("Plans", ()) for table in scanned(child)]
    return [*below, node["Relation Name"]] if node["Node Type"] == "Seq Scan" else below
